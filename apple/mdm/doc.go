// Package mdm speaks Apple's MDM protocol: it writes commands and reads answers as property lists, keeps NanoMDM's
// storage and service, and wakes devices through Apple's push service.
package mdm
