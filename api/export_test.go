package api

// What the tests hold the interface against.
var (
	ParseCursor = parseCursor
	Meanings    = meanings
)
