package workflows

// What the tests hold against the rules.
var (
	ApplySummary = applySummary
	CarrySummary = carrySummary
	Deeds        = deeds
	Meanings     = meanings
)
