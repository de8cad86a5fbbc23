// Package identity gives devices their identities: a certificate authority, the SCEP service (RFC 8894) that issues one
// certificate for each challenge, and the enrollment profile that carries the challenge to the device.
//
//	challenge ── in the enrollment profile ──▶ device ── PKCSReq ──▶ redeemed, certificate recorded: one transaction
//	    └── expired, unknown, or used with another key: refused (challenge_refused)
package identity
