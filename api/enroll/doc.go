// Package enroll gives devices what they need to enroll: the enrollment profile, to one that was switched on and sent here by
// Apple, to whoever installs it by hand, and once more before the certificate ends that a device got by it.
//
//	POST /enroll ─▶ signed by a device of Apple's? ─▶ known, and nothing keeps it? ─▶ new enough? ─▶ signed in, if it must be?
//	     ◀── problem, or Apple's own error ──┴──────────────────────┴─────────────────────┘               └──▶ profile
//
// A device that its user activates has a page instead: see [Web].
package enroll
