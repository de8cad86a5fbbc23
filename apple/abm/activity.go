package abm

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// ActivityKind is what an activity does to devices, in Apple's words.
type ActivityKind string

// The kinds of activities. A release can't be undone.
const (
	Assign   ActivityKind = "ASSIGN_DEVICES"
	Unassign ActivityKind = "UNASSIGN_DEVICES"
	Release  ActivityKind = "RELEASE_DEVICES"
)

type activityRequest struct {
	Data struct {
		Type       string `json:"type"`
		Attributes struct {
			Kind ActivityKind `json:"activityType"`
		} `json:"attributes"`
		Relationships struct {
			Server  *serverLink `json:"mdmServer,omitempty"`
			Devices struct {
				Data []link `json:"data"`
			} `json:"devices"`
		} `json:"relationships"`
	} `json:"data"`
}

type serverLink struct {
	Data link `json:"data"`
}

// StartActivity has Apple do something to devices, up to [MaxDevices], which takes it a while, and returns the activity's
// id. The server is the one to assign to or to unassign from; a release has none. When the answer is lost, the activity
// may have begun: asked again, Apple refuses with the code CONFLICT while it is at one of the devices.
func (c *Client) StartActivity(ctx context.Context, kind ActivityKind, serverID string, serials []string) (id string, err error) {
	switch {
	case len(serials) == 0 || len(serials) > MaxDevices:
		return "", fmt.Errorf("starting %s for %d devices: Apple takes from 1 to %d at once", kind, len(serials), MaxDevices)
	case (serverID == "") != (kind == Release):
		return "", fmt.Errorf("starting %s with the server %q: a release has none, everything else needs one", kind, serverID)
	}
	var request activityRequest
	request.Data.Type = "orgDeviceActivities"
	request.Data.Attributes.Kind = kind
	if serverID != "" {
		request.Data.Relationships.Server = &serverLink{link{Type: "mdmServers", ID: serverID}}
	}
	for _, serial := range serials {
		request.Data.Relationships.Devices.Data = append(request.Data.Relationships.Devices.Data, link{Type: "orgDevices", ID: serial})
	}
	var got document[activity]
	if err := c.do(ctx, http.MethodPost, "/v1/orgDeviceActivities", request, &got); err != nil {
		return "", err
	}
	if got.Data == nil || got.Data.ID == "" {
		return "", incomplete("the activity's id")
	}
	return got.Data.ID, nil
}

// ActivityState is how far an activity has come. Words are Apple's.
type ActivityState struct {
	ID          string
	Status      string // IN_PROGRESS, COMPLETED, FAILED or STOPPED
	SubStatus   string // PROCESSING, COMPLETED_WITH_SUCCESS, COMPLETED_WITH_ERROR, …
	CreatedAt   time.Time
	CompletedAt time.Time
	// Failures are the devices that it wasn't done to, with Apple's reasons, from the log of an activity that ended
	// without full success; nil when there was no log to read. Apple doesn't say what its logs look like: what counts is
	// the device itself, which [Client.OrgDevice] shows.
	Failures map[string]string
	// LogProblem says why the log couldn't be read.
	LogProblem string
}

// Ended is whether nothing more will happen.
func (s ActivityState) Ended() bool {
	switch s.Status {
	case "COMPLETED", "FAILED", "STOPPED":
		return true
	}
	return !s.CompletedAt.IsZero()
}

// Succeeded is whether it was done to every device.
func (s ActivityState) Succeeded() bool {
	return s.Status == "COMPLETED" && s.SubStatus == "COMPLETED_WITH_SUCCESS"
}

type activity struct {
	Status    string `json:"status"`
	SubStatus string `json:"subStatus"`
	Created   moment `json:"createdDateTime"`
	Completed moment `json:"completedDateTime"`
	Log       string `json:"downloadUrl"`
}

// Activity asks how far an activity has come; Apple remembers it for 30 days, and then says [fault.NotFound].
func (c *Client) Activity(ctx context.Context, id string) (ActivityState, error) {
	var got document[activity]
	if err := c.get(ctx, "/v1/orgDeviceActivities/"+url.PathEscape(id), nil, &got); err != nil {
		return ActivityState{}, err
	}
	if got.Data == nil || got.Data.Attributes.Status == "" {
		return ActivityState{}, incomplete("the activity's status")
	}
	a := got.Data.Attributes
	s := ActivityState{ID: got.Data.ID, Status: a.Status, SubStatus: a.SubStatus, CreatedAt: a.Created.Time, CompletedAt: a.Completed.Time}
	if a.Log == "" || !s.Ended() || s.Succeeded() {
		return s, nil
	}
	s.Failures, s.LogProblem = c.readFailures(ctx, a.Log)
	return s, nil
}
