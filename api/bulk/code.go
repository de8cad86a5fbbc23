package bulk

import "github.com/muster-mdm/muster/provision"

// Codes of files as a whole. A file has the codes of rows, too, when it is its header that can't be read.
const (
	FileEmpty        provision.Code = "file_empty"
	FileNotCSV       provision.Code = "file_not_csv"
	EncodingUnknown  provision.Code = "encoding_unknown"
	EncodingUTF16    provision.Code = "encoding_utf16"
	DelimiterOther   provision.Code = "delimiter_other"
	DelimiterUnknown provision.Code = "delimiter_unknown"
	SeparatorLine    provision.Code = "separator_line"
	HeaderMissing    provision.Code = "header_missing"
	HeaderQuoted     provision.Code = "header_quoted"
	ColumnMissing    provision.Code = "column_missing"
	ColumnTwice      provision.Code = "column_twice"
	ColumnUnknown    provision.Code = "column_unknown"
	LineEndings      provision.Code = "line_endings"
	LinesBlank       provision.Code = "lines_blank"
	ResultFile       provision.Code = "result_file"
)

// Codes of rows, beside [provision.SerialInvalid], [provision.GroupNotFound] and [provision.GroupNameInvalid].
const (
	QuoteUnclosed    provision.Code = "quote_unclosed"
	QuoteMisplaced   provision.Code = "quote_misplaced"
	RowShort         provision.Code = "row_short"
	RowLong          provision.Code = "row_long"
	RowTooLong       provision.Code = "row_too_long"
	HeaderRepeated   provision.Code = "header_repeated"
	CellTooLong      provision.Code = "cell_too_long"
	CellEmpty        provision.Code = "cell_empty"
	ValueTooLong     provision.Code = "value_too_long"
	EncodingInvalid  provision.Code = "encoding_invalid"
	EncodingTwice    provision.Code = "encoding_twice"
	CharacterLost    provision.Code = "character_lost"
	ControlCharacter provision.Code = "control_character"
	LineBreak        provision.Code = "line_break"
	BlanksTrimmed    provision.Code = "blanks_trimmed"
	BlanksReplaced   provision.Code = "blanks_replaced"
	InvisibleRemoved provision.Code = "invisible_removed"
	FormulaText      provision.Code = "formula_text"
	SerialLowerCase  provision.Code = "serial_lower_case"
	SerialLookalike  provision.Code = "serial_lookalike"
	SerialScientific provision.Code = "serial_scientific"
	SerialRepeated   provision.Code = "serial_repeated"
	SerialConflict   provision.Code = "serial_conflict"
	EmailInvalid     provision.Code = "email_invalid"
	GroupEmpty       provision.Code = "group_empty"
	GroupTwice       provision.Code = "group_twice"
	GroupsTooMany    provision.Code = "groups_too_many"
	OwnerUnknown     provision.Code = "owner_unknown"
)
