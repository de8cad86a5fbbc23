package provision

import "time"

// TokenWarning says that a server token ends soon or has ended; "" while there is time.
type TokenWarning string

// Warnings, the most urgent first.
const (
	TokenExpired  TokenWarning = "expired"
	TokenOneDay   TokenWarning = "1_day"
	TokenOneWeek  TokenWarning = "7_days"
	TokenOneMonth TokenWarning = "30_days"
)

const day = 24 * time.Hour

// WarnOfToken judges a server token by when it expires. Apple's are valid for a year.
func WarnOfToken(expires, now time.Time) TokenWarning {
	switch left := expires.Sub(now); {
	case left <= 0:
		return TokenExpired
	case left <= day:
		return TokenOneDay
	case left <= 7*day:
		return TokenOneWeek
	case left <= 30*day:
		return TokenOneMonth
	}
	return ""
}

// AddedByHand is how Apple's Business API calls the source of devices that were added with Apple Configurator.
const AddedByHand = "MANUALLY_ADDED"

// ProvisionalPeriod is how long after its first enrollment whoever holds a device that was added with Apple Configurator
// may take it out of the organisation, in the device's settings (Apple Business Manager User Guide; R83).
const ProvisionalPeriod = 30 * day
