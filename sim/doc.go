// Package sim is a virtual Apple: a push service and devices that speak Apple's wire formats and share no code with the server.
//
// It is written from Apple's published documents alone, so that it can't repeat our mistakes. A device lives so:
//
//	         Prepare          Authenticate         TokenUpdate
//	erased ──────────▶ ready ──────────────▶ known ─────────────▶ enrolled ─┐ pushed: connects, answers
//	   ▲                                                            │  ▲    │ commands until none is left
//	   └── Reset, EraseDevice, CheckOut, HTTP 401, profile removed ─┘  └────┘
package sim
