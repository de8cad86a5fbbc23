package api

import "github.com/muster-mdm/muster/store"

// leastRole is the least role that each operation of the contract asks for. An operation that is not listed is denied to
// everybody; those of the process itself need no token and are listed in public.
var leastRole = map[string]store.Role{
	"listDevices":       store.Viewer,
	"getDevice":         store.Viewer,
	"getDeviceTimeline": store.Viewer,
	"explainDevice":     store.Viewer,
	"getDevicePlan":     store.Viewer,
	"getAssignment":     store.Viewer,

	"registerDevice":         store.Technician,
	"assignDevice":           store.Technician,
	"unassignDevice":         store.Technician,
	"holdDevice":             store.Technician,
	"resumeDevice":           store.Technician,
	"releaseDeviceFromSetup": store.Technician,
	"extendDeviceHold":       store.Technician,
	"retryDevice":            store.Technician,
	"getEnrollmentProfile":   store.Technician, // it lets a device in
	"releaseDevice":          store.Admin,      // it can't be undone

	"listGroups":              store.Viewer,
	"getGroup":                store.Viewer,
	"listConfigurations":      store.Viewer,
	"getConfiguration":        store.Viewer,
	"listApps":                store.Viewer,
	"getApp":                  store.Viewer,
	"listDocuments":           store.Viewer,
	"getDocument":             store.Viewer,
	"getDocumentContent":      store.Viewer, // devices' users read it, too
	"putDocument":             store.Admin,
	"putDocumentContent":      store.Admin,
	"deleteDocument":          store.Admin,
	"putGroup":                store.Admin,
	"deleteGroup":             store.Admin,
	"putConfiguration":        store.Admin,
	"deleteConfiguration":     store.Admin,
	"getConfigurationContent": store.Admin, // profiles hold passwords
	"putApp":                  store.Admin,
	"deleteApp":               store.Admin,

	"listAbmServers":                 store.Viewer,
	"getAbmServer":                   store.Viewer,
	"getAbmServerCertificate":        store.Viewer, // public by its nature
	"listDeviceProfiles":             store.Viewer,
	"getDeviceProfile":               store.Viewer,
	"getDeviceAbm":                   store.Viewer,
	"syncAbmServer":                  store.Technician,
	"putDeviceDeviceProfile":         store.Technician, // as the groups that bring one
	"deleteDeviceDeviceProfile":      store.Technician,
	"putAbmServer":                   store.Admin,
	"deleteAbmServer":                store.Admin,
	"renewAbmServerKeys":             store.Admin,
	"putAbmServerToken":              store.Admin,
	"putAbmServerBusinessAccount":    store.Admin,
	"deleteAbmServerBusinessAccount": store.Admin,
	"pauseAbmServer":                 store.Admin,
	"resumeAbmServer":                store.Admin,
	"forgetAbmServerDevices":         store.Admin,
	"putDeviceProfile":               store.Admin,
	"deleteDeviceProfile":            store.Admin,
	"unassignDeviceFromMdm":          store.Admin,
	"cancelDeviceRelease":            store.Admin,

	"deprovisionDevice":      store.Admin,
	"reviewDevice":           store.Technician,
	"assignDevices":          store.Technician,
	"unassignDevices":        store.Technician,
	"unassignDevicesFromMdm": store.Admin,
	"deprovisionDevices":     store.Admin,
	"releaseDevices":         store.Admin,
	"withdrawDevice":         store.Technician, // as registering it
	"withdrawDevices":        store.Technician,
	"listReservations":       store.Viewer,
	"listOperations":         store.Viewer,
	"getOperation":           store.Viewer,
	"listOperationRows":      store.Viewer,
	"pauseOperation":         store.Technician,
	"resumeOperation":        store.Technician,
	"cancelOperation":        store.Technician,
	"undoOperation":          store.Technician,

	"listAssignmentImports":       store.Viewer,
	"getAssignmentImport":         store.Viewer,
	"listAssignmentImportRows":    store.Technician, // cells hold people, known here or not
	"getAssignmentImportResult":   store.Technician,
	"getAssignmentImportTemplate": store.Viewer,
	"createAssignmentImport":      store.Technician,
	"applyAssignmentImport":       store.Technician,
	"pauseAssignmentImport":       store.Technician,
	"resumeAssignmentImport":      store.Technician,
	"cancelAssignmentImport":      store.Technician,
	"undoAssignmentImport":        store.Technician,
	"listUnassignImports":         store.Viewer,
	"getUnassignImport":           store.Viewer,
	"listUnassignImportRows":      store.Technician, // cells hold people, known here or not
	"getUnassignImportResult":     store.Technician,
	"getUnassignImportTemplate":   store.Viewer,
	"createUnassignImport":        store.Technician,
	"applyUnassignImport":         store.Technician,
	"pauseUnassignImport":         store.Technician,
	"resumeUnassignImport":        store.Technician,
	"cancelUnassignImport":        store.Technician,
	"undoUnassignImport":          store.Technician,

	"importPeople":    store.Admin,
	"listDirectories": store.Viewer,
	"getDirectory":    store.Viewer,
	"testDirectory":   store.Technician,
	"putDirectory":    store.Admin,
	"deleteDirectory": store.Admin,

	"listPeople":   store.Viewer,
	"getPerson":    store.Viewer,
	"createPerson": store.Admin, // it can make somebody a technician
	"putPerson":    store.Admin,

	"listTokens":  store.Admin,
	"createToken": store.Admin,
	"revokeToken": store.Admin,
}

// public are the operations that need no token.
var public = map[string]bool{"livez": true, "readyz": true, "metrics": true, "version": true, "openapi": true}
