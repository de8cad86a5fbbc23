package provision

import "strings"

// nearest returns the known word that somebody most likely meant; "" when none is near.
func nearest(word string, known []string) string {
	const longest = 64 // what is longer is no slip of a key
	if len(word) > longest {
		return ""
	}
	best, least := "", len(word)/3+2
	for _, k := range known {
		if n := edits(strings.ToLower(word), strings.ToLower(k)); n < least {
			best, least = k, n
		}
	}
	return best
}

// edits counts the letters to insert, delete or replace that make one word of the other (Levenshtein).
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, replaced)
		}
	}
	return row[len(b)]
}
