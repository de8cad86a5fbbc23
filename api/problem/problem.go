// Package problem writes errors as problems (RFC 9457), in the form of the REST interface, for the addresses that devices
// use: one reader of logs and traffic fits all.
package problem

import (
	"crypto/rand"
	"encoding/json"
	"net/http"

	"github.com/muster-mdm/muster/provision"
)

// Problem is what a person sees who looks at the traffic; devices ignore most of it.
type Problem struct {
	Type      string         `json:"type"`
	Title     string         `json:"title"`
	Status    int            `json:"status"`
	Detail    string         `json:"detail"`
	Code      provision.Code `json:"code"`
	Instance  string         `json:"instance"`
	RequestID string         `json:"request_id"`
}

const explained = "https://github.com/muster-mdm/muster/blob/main/docs/troubleshooting.md#"

// Write answers with a problem of which Title, Status, Detail and Code are given.
func Write(w http.ResponseWriter, p Problem) error {
	p.RequestID = RequestID(w)
	p.Type, p.Instance = explained+string(p.Code), "urn:muster:request:"+p.RequestID
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(p.Status)
	_, err = w.Write(body)
	return err
}

// RequestID is the one that was given to the request before it came here, or a new one.
func RequestID(w http.ResponseWriter) string {
	id := w.Header().Get("X-Request-Id")
	if id == "" {
		id = rand.Text()
		w.Header().Set("X-Request-Id", id)
	}
	return id
}
