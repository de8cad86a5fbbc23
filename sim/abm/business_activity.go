package abm

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

type link struct {
	Type string `json:"type"`
	ID   string `json:"id"`
}

type activityRequest struct {
	Data struct {
		Type       string `json:"type"`
		Attributes struct {
			Type string `json:"activityType"`
		} `json:"attributes"`
		Relationships struct {
			Server *struct {
				Data link `json:"data"`
			} `json:"mdmServer"`
			Devices struct {
				Data []link `json:"data"`
			} `json:"devices"`
		} `json:"relationships"`
	} `json:"data"`
}

func malformed(pointer, detail string) *apiError {
	return &apiError{
		status: http.StatusBadRequest, code: "ENTITY_INVALID", title: "The request body is not valid.", detail: detail, pointer: pointer,
	}
}

func unprocessable(pointer, detail string) *apiError {
	return &apiError{
		status: http.StatusUnprocessableEntity, code: "ENTITY_UNPROCESSABLE", title: "The request can't be processed.",
		detail: detail, pointer: pointer,
	}
}

func (q *inquiry) createActivity() (document, *apiError) {
	if q.account.ReadOnly {
		return nil, &apiError{
			status: http.StatusForbidden, code: "FORBIDDEN_ERROR", title: "This request is forbidden.",
			detail: "The API account's role doesn't let it manage devices.",
		}
	}
	var request activityRequest
	if err := json.Unmarshal(q.body, &request); err != nil || request.Data.Type != "orgDeviceActivities" {
		return nil, malformed("/data", "The body is not an orgDeviceActivities resource.")
	}
	a, no := q.readActivity(request)
	if no != nil {
		return nil, no
	}
	q.started++
	a.ID = q.chance.uuid("activity", strconv.Itoa(q.started))
	q.start(a)
	q.settle(q.now())
	return q.activityDocument(a), nil
}

// readActivity checks all that can be known at once; whether each device can be had shows when the activity ends.
func (q *inquiry) readActivity(request activityRequest) (*activity, *apiError) {
	a := &activity{Type: request.Data.Attributes.Type}
	relationships := request.Data.Relationships
	switch a.Type {
	case ActivityAssign, ActivityUnassign:
		if relationships.Server == nil {
			return nil, malformed("/data/relationships/mdmServer", "The activity needs a device management service.")
		}
		a.ServerID = relationships.Server.Data.ID
		if q.servers[a.ServerID] == nil {
			return nil, unprocessable("/data/relationships/mdmServer/data/id", "There is no such device management service.")
		}
	case ActivityRelease:
		if relationships.Server != nil {
			return nil, malformed("/data/relationships/mdmServer", "A release has no device management service.")
		}
	default:
		return nil, malformed("/data/attributes/activityType", "The activity type is not one that is supported.")
	}
	for _, one := range relationships.Devices.Data {
		if one.Type != "orgDevices" || one.ID == "" {
			return nil, malformed("/data/relationships/devices/data", "A device is not an orgDevices resource.")
		}
		a.Serials = append(a.Serials, strings.ToUpper(one.ID))
	}
	if len(a.Serials) == 0 || len(a.Serials) > maxPage {
		return nil, malformed("/data/relationships/devices/data", "An activity takes from 1 to 1000 devices.")
	}
	return a, q.busy(a)
}

// busy refuses devices that another activity is at.
func (q *inquiry) busy(a *activity) *apiError {
	wanted := make(map[string]bool, len(a.Serials))
	for _, serial := range a.Serials {
		wanted[serial] = true
	}
	for _, other := range q.running {
		if i := slices.IndexFunc(other.Serials, func(serial string) bool { return wanted[serial] }); i >= 0 {
			return &apiError{
				status: http.StatusConflict, code: "CONFLICT", title: "The request conflicts with one in progress.",
				detail: "Activity " + other.ID + " is in progress for device " + other.Serials[i] + ".",
			}
		}
	}
	return nil
}

func (q *inquiry) getActivity() (document, *apiError) {
	id := q.request.PathValue("id")
	a := q.activities[id]
	if a == nil || q.now().Sub(a.Created) > activityKept {
		return nil, notFound("orgDeviceActivities", id)
	}
	return q.activityDocument(a), nil
}

func (q *inquiry) activityDocument(a *activity) document {
	self := q.origin + "/v1/orgDeviceActivities/" + a.ID
	status, sub := a.progress(q.now())
	attributes := document{"status": status, "subStatus": sub, "createdDateTime": milliseconds(a.Created)}
	if a.Ended {
		attributes["completedDateTime"] = milliseconds(a.Ends)
		attributes["downloadUrl"] = q.origin + downloadPath + q.seal(ticket{kind: "download", subject: a.ID, issued: q.now()}) + "/" + a.ID + ".csv"
	}
	return document{
		"data": document{
			"type": "orgDeviceActivities", "id": a.ID, "links": document{"self": self},
			"attributes": q.only("orgDeviceActivities", attributes),
		},
		"links": document{"self": self},
	}
}

const downloadPath = "/downloads/"

// download serves an activity's log to whoever has its address, as a presigned URL does.
func (o *Organization) download(w http.ResponseWriter, r *http.Request) {
	id := strings.TrimSuffix(r.PathValue("name"), ".csv")
	log, ok := o.activityLog(id, r.PathValue("seal"))
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/csv")
	_, _ = w.Write([]byte(log)) // the client has gone away; nothing is left to do
}

func (o *Organization) activityLog(id, sealed string) (string, bool) {
	defer o.lock()()
	a := o.activities[id]
	if _, ok := o.open(sealed, "download", id); !ok || a == nil || !a.Ended {
		return "", false
	}
	return a.csv(), true
}
