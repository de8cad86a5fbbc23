// Package signals is the one door to a device's workflow: its id, the names and payloads of its signals, queries and
// search attributes, a typed client, and the relay that delivers recorded facts.
package signals

import (
	"strings"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/muster-mdm/muster/provision"
)

// Names of the workflow as Temporal and its operators know them. They are part of histories: never renamed.
const (
	WorkflowType = "Device"
	TaskQueue    = "devices"
	QueryStatus  = "status"
	QueryExplain = "explain"
)

const workflowIDPrefix = "device/"

// WorkflowID is the id of a device's workflow.
func WorkflowID(serial string) string { return workflowIDPrefix + strings.ToUpper(serial) }

// SerialOf returns the serial number in a workflow id, "" when it is not one of a device.
func SerialOf(workflowID string) string {
	serial, ok := strings.CutPrefix(workflowID, workflowIDPrefix)
	if !ok {
		return ""
	}
	return serial
}

// Start is the input of a device's first run. The policy is carried in it, and through every continue-as-new, so that a
// change of settings reaches new workflows only and never breaks the replay of an old one.
type Start struct {
	Device provision.Device `json:"device"`
	Policy provision.Policy `json:"policy,omitzero"`
	// Resumed: an earlier workflow of the device was lost, so the store is asked where the device stands before anything
	// is done. It may have been released since Device was read.
	Resumed bool `json:"resumed,omitempty"`
}

// Search attributes of a device's workflow, upserted once per transition.
var (
	AttributeStatus    = temporal.NewSearchAttributeKeyKeyword("MusterStatus")
	AttributeAwaiting  = temporal.NewSearchAttributeKeyKeywordList("MusterAwaiting")
	AttributeGroups    = temporal.NewSearchAttributeKeyKeywordList("MusterGroups")
	AttributeServer    = temporal.NewSearchAttributeKeyKeyword("MusterServer")
	AttributeBlockedBy = temporal.NewSearchAttributeKeyKeyword("MusterBlockedBy")
	AttributeEpoch     = temporal.NewSearchAttributeKeyInt64("MusterEpoch")
)

// SearchAttributes are the attributes that a namespace must know before the first device starts.
func SearchAttributes() map[string]enums.IndexedValueType {
	types := map[string]enums.IndexedValueType{}
	for _, key := range []temporal.SearchAttributeKey{
		AttributeStatus, AttributeAwaiting, AttributeGroups, AttributeServer, AttributeBlockedBy, AttributeEpoch,
	} {
		types[key.GetName()] = key.GetValueType()
	}
	return types
}

// Status is the answer to the query status.
type Status struct {
	Serial     string               `json:"serial"`
	Status     provision.Status     `json:"status"`
	Labels     []string             `json:"labels"`
	Awaiting   []string             `json:"awaiting,omitempty"`
	Management provision.Management `json:"management"`
	Epoch      int                  `json:"epoch"`
	BlockedBy  string               `json:"blocked_by,omitempty"`
	// Plan is the id of the plan's Provisioning fact and Round its try; Verdict is how far it got.
	Plan    int64             `json:"plan,omitempty"`
	Round   int               `json:"round,omitempty"`
	Verdict provision.Verdict `json:"verdict,omitzero"`
	Waits   []provision.Wait  `json:"waits,omitempty"`
	// Notice is the last thing that went wrong and is not mended yet.
	Notice string `json:"notice,omitempty"`
}

// Explanation is the answer to the query explain: what the device waits for, since when, who can end it, and what comes
// next.
type Explanation struct {
	Serial string           `json:"serial"`
	Labels []string         `json:"labels"`
	Waits  []provision.Wait `json:"waits,omitempty"`
	Next   provision.Step   `json:"next"`
	Notice string           `json:"notice,omitempty"`
}
