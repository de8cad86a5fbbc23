// Package bulk reads the CSV files by which many devices are assigned or unassigned at once (R27–R46), and writes their
// results. It reads what spreadsheets, editors and other programs make of such files, gives a verdict on every row with all
// that is wrong in it, and drops nothing silently. It knows no database: which groups exist, and which devices, is for
// the caller to say.
//
// A [Reader] holds one row at a time, so a file may be larger than memory. docs/csv.md describes the format and every code.
package bulk
