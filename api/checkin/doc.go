// Package checkin is the MDM endpoint: it makes sure who a device is, lets NanoMDM's core keep what it says, and turns
// that into facts.
//
//	request ─▶ certificate: of an authority that counts ─▶ body, limited ─▶ signed by it, valid, this device's ─▶ association (certauth)
//	        ─▶ facts around NanoMDM's core: 1. the core stores, 2. the fact is recorded ─▶ 200
//
// The core and the fact are two transactions. What comes second is repeated by the device, which is answered 500 until
// both are done; so whether a fact is due is decided by our own row of the device alone.
package checkin
