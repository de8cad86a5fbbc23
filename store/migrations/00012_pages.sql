-- +goose Up
-- The rows of operations, by pages of some hundred: what PostgreSQL does for a row of a table (its header, its entry in an
-- index, both again in the log) costs three times as much as the row's own text. A page's rows are in the order of their lines,
-- and the n-th elements of its arrays are those of its n-th row.
-- There is no reference to operations, as before: both are deleted in one transaction.
CREATE TABLE operation_pages (
    operation bigint NOT NULL,
    -- That of the last row, by which pages are found.
    last_line bigint NOT NULL,
    lines     bigint[] NOT NULL,
    -- Tells rows about one device apart that say different things.
    said      bigint[] NOT NULL,
    serials   text[] NOT NULL,
    -- ok, notice, error: by their first letter.
    verdicts  "char"[] NOT NULL
        CONSTRAINT operation_pages_verdicts_known CHECK (verdicts <@ '{o,n,e}'),
    -- What most rows of a file have in common is kept in a word: the device isn't known yet, nobody is assigned to it, …
    standings text[] NOT NULL,
    -- [{"column": "Group Name", "code": "group_not_found", "severity": "error", "detail": "…"}]; NULL when no row has any.
    problems  jsonb[],
    -- What shall be done, a line each: user's name, domain and address, owner, reason, and the groups.
    wanted    text[] NOT NULL,
    -- The cells as they stand in the file, separated by U+001F.
    records   text[] NOT NULL,
    PRIMARY KEY (operation, last_line),
    CONSTRAINT operation_pages_ends CHECK (last_line = lines[cardinality(lines)]),
    CONSTRAINT operation_pages_shape CHECK (
        (cardinality(said), cardinality(serials), cardinality(verdicts), cardinality(standings), coalesce(cardinality(problems), cardinality(lines)),
            cardinality(wanted), cardinality(records))
        = (cardinality(lines), cardinality(lines), cardinality(lines), cardinality(lines), cardinality(lines),
            cardinality(lines), cardinality(lines)))
);
-- Compressing by PostgreSQL's own means costs more than writing what it saves; and no plan is better for knowing which elements are
-- frequent, which takes ANALYZE seconds to find out.
ALTER TABLE operation_pages
    ALTER lines SET STORAGE EXTERNAL, ALTER lines SET STATISTICS 0,
    ALTER said SET STORAGE EXTERNAL, ALTER said SET STATISTICS 0,
    ALTER serials SET STORAGE EXTERNAL, ALTER serials SET STATISTICS 0,
    ALTER verdicts SET STORAGE EXTERNAL, ALTER verdicts SET STATISTICS 0,
    ALTER standings SET STORAGE EXTERNAL, ALTER standings SET STATISTICS 0,
    ALTER problems SET STORAGE EXTERNAL, ALTER problems SET STATISTICS 0,
    ALTER wanted SET STORAGE EXTERNAL, ALTER wanted SET STATISTICS 0,
    ALTER records SET STORAGE EXTERNAL, ALTER records SET STATISTICS 0;

INSERT INTO operation_pages (operation, last_line, lines, said, serials, verdicts, standings, problems, wanted, records)
SELECT operation, max(line), array_agg(line ORDER BY line), array_agg(said ORDER BY line), array_agg(serial ORDER BY line),
    array_agg(left(verdict, 1)::"char" ORDER BY line), array_agg(nullif(standing, '') ORDER BY line),
    CASE WHEN count(problems) > 0 THEN array_agg(problems ORDER BY line) END,
    array_agg(wanted ORDER BY line), array_agg(record ORDER BY line)
FROM (
    SELECT *, (row_number() OVER (PARTITION BY operation ORDER BY line) - 1) / 500 AS page
    FROM operation_rows
) AS numbered
GROUP BY operation, page;

DROP TABLE operation_rows;
-- For people, and for processes of the version before that still run: they read it; what they'd write into it fails.
CREATE VIEW operation_rows AS
SELECT p.operation, r.line, r.said, r.serial, CASE r.verdict WHEN 'o' THEN 'ok' WHEN 'n' THEN 'notice' ELSE 'error' END AS verdict,
    coalesce(r.standing, '') AS standing, r.problems, r.wanted, r.record
FROM operation_pages p
    CROSS JOIN LATERAL unnest(p.lines, p.said, p.serials, p.verdicts, p.standings, p.problems, p.wanted, p.records)
        AS r (line, said, serial, verdict, standing, problems, wanted, record);

-- +goose Down
ALTER VIEW operation_rows RENAME TO operation_rows_by_page;
CREATE TABLE operation_rows (
    operation bigint NOT NULL,
    line      bigint NOT NULL,
    said      bigint NOT NULL DEFAULT 0,
    serial    text NOT NULL,
    verdict   text NOT NULL
        CONSTRAINT operation_rows_verdict_known CHECK (verdict IN ('ok', 'notice', 'error')),
    standing  text NOT NULL DEFAULT '',
    problems  jsonb,
    wanted    text,
    record    text,
    PRIMARY KEY (operation, line)
);
CREATE INDEX operation_rows_with_problems ON operation_rows (operation, line) WHERE problems IS NOT NULL;
INSERT INTO operation_rows
SELECT operation, line, said, serial, verdict, standing, problems, wanted, record
FROM operation_rows_by_page;
DROP VIEW operation_rows_by_page;
DROP TABLE operation_pages;
