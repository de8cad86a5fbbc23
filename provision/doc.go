// Package provision holds the words and the rules of Muster: what a device is, which facts change it, which status
// follows, and what has to be done next. It knows no database, no network and no clock; everything else asks it.
//
// Facts fold into a [Device]. Folding is a join: on each axis the fact with the highest id wins, and what belongs to an
// enrollment that is over changes nothing. So facts may come twice, early, late or in any order, and the end is the same.
//
//	        assigned                          activated
//	Awaiting User Assignment ─┐      ┌─ Awaiting Device Activation
//	                          ▼      ▼
//	                        Provisioning ──── required items verified ───▶ Enrolled
//	                          ▲   │  ▲                                      │
//	        retry, back-off ──┘   │  └── assigned, catalog_changed, ────────┤
//	                              ▼      activated in a new epoch           │
//	                            stuck                                       ▼
//	                              checked_out ▶ Unmanaged     release ▶ Released
package provision
