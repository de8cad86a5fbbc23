// Package abm is a virtual Apple Business Manager: one organisation's devices and MDM servers, seen through Apple's device
// assignment API, through the Apple Business API, and through an admin endpoint that stands for the portal's web pages.
//
// It is written from Apple's published documents and from what clients report to have seen, and shares no code with the
// server it is there to test. What one side does, the other shows:
//
//	portal (Go API, /admin)         device assignment API                Business API
//	AddNew, Move, Unassign ──▶ ┌──────────────────────────────┐ ◀── orgDeviceActivities
//	Release, Vanish            │ devices · servers · op log   │     (take time, then act)
//	                           └──────────────────────────────┘
//	fetch, sync, profiles  ◀──────────────┘   └──────────────▶ orgDevices, mdmServers
//
// A device's profile goes empty → assigned → pushed (it was activated) → removed; a change of server empties it.
package abm
