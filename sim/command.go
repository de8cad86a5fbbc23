package sim

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
)

const (
	statusAcknowledged = "Acknowledged"
	statusError        = "Error"
	statusFormatError  = "CommandFormatError"
	statusNotNow       = "NotNow"
)

// command is what the server asks for, with what the device found out about it before it looks at its own state.
type command struct {
	uuid        string
	requestType string
	body        dict
	target      string
	content     string
	download    string   // SHA-256 of the book that was fetched
	profile     *profile // of InstallProfile; nil when it can't be read
	renewal     *renewal // of an InstallProfile that updates the enrollment profile
	putOff      bool     // it is answered NotNow
	problem     error    // why the command can't be done whatever the device's state
}

// result is how a command ended, before it is written down as an answer.
type result struct {
	status string
	keys   dict
	chain  []*deviceError
	after  func(ctx context.Context) bool // runs once the answer is delivered; true ends the session
}

func acknowledged(keys dict) result { return result{status: statusAcknowledged, keys: keys} }

func failed(links ...*deviceError) result { return result{status: statusError, chain: links} }

// handlers do what commands ask; they run under the device's mu and must not block.
var handlers map[string]func(*Device, *command) result

func init() {
	handlers = map[string]func(*Device, *command) result{
		"InstallProfile":           (*Device).installProfile,
		"RemoveProfile":            (*Device).removeProfile,
		"ProfileList":              (*Device).profileList,
		"CertificateList":          (*Device).certificateList,
		"InstallApplication":       (*Device).installApplication,
		"RemoveApplication":        (*Device).removeApplication,
		"ManagedApplicationList":   (*Device).managedApplicationList,
		"InstalledApplicationList": (*Device).installedApplicationList,
		"InstallMedia":             (*Device).installMedia,
		"RemoveMedia":              (*Device).removeMedia,
		"ManagedMediaList":         (*Device).managedMediaList,
		"DeviceInformation":        (*Device).deviceInformation,
		"SecurityInfo":             (*Device).securityInfo,
		"Settings":                 (*Device).applySettings,
		"DeviceConfigured":         (*Device).deviceConfigured,
		"DeviceLock":               (*Device).lock,
		"RestartDevice":            (*Device).restart,
		"EraseDevice":              (*Device).eraseDevice,
	}
}

// execute does what a command says and returns the answer, or nil when there is nothing to answer to.
func (d *Device) execute(ctx context.Context, e *enrolment, boot int, body []byte) *answer {
	c := readCommand(body)
	if c == nil {
		return nil
	}
	d.study(ctx, e, boot, c)
	if d.consider(c); !c.putOff && c.updates(e) {
		c.renewal, c.problem = d.renew(ctx, e, boot, c.profile)
	}
	a := d.obey(e, boot, c)
	if a != nil && c.renewal != nil && !d.cfg.SilentRenewal && e.profile == c.renewal.profile {
		var err error
		if a.first, err = d.introduce(e); err != nil {
			return nil
		}
	}
	return a
}

// consider decides whether the command is put off.
func (d *Device) consider(c *command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if handlers[c.requestType] == nil {
		return
	}
	subject := c.requestType + " " + c.target
	switch {
	case d.tooEarly(c):
		c.putOff, d.state.putOff = true, true
	case d.struck("not-now", subject, d.cfg.Faults.NotNow):
		c.putOff = true
		d.reconnect(d.putOffFor(subject))
	}
}

// updates tells whether the command installs the enrollment profile anew.
func (c *command) updates(e *enrolment) bool {
	return c.profile != nil && c.profile.identifier == e.profile.identifier && c.profile.management() != nil
}

func (d *Device) obey(e *enrolment, boot int, c *command) *answer {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.boot != boot || d.state.enrolment != e {
		return nil
	}
	entry := d.journal.received(c, d.now())
	res, executed := d.react(c)
	message, err := d.answerMessage(e, c, res)
	if err != nil {
		return nil
	}
	message.attempt = d.journal.attempted(entry, res.status, executed)
	return &answer{message: message, after: res.after}
}

func readCommand(body []byte) *command {
	d, err := decode(body)
	if err != nil {
		return nil
	}
	c := &command{uuid: text(d, "CommandUUID"), body: child(d, "Command")}
	c.requestType = text(c.body, "RequestType")
	if c.uuid == "" {
		return nil
	}
	return c
}

// react lets the faults have their turn, and then the handler.
func (d *Device) react(c *command) (res result, executed bool) {
	subject := c.requestType + " " + c.target
	handler, known := handlers[c.requestType]
	known = known && !d.lacks(c.requestType)
	switch {
	case c.requestType == "":
		return result{status: statusFormatError, chain: []*deviceError{mdmError(mdmMalformedRequest, "The request is malformed.")}}, false
	case !known:
		text := fmt.Sprintf("“%s” is not a valid request type.", c.requestType)
		return failed(mdmError(mdmInvalidRequest, text)), false
	case c.putOff:
		return result{status: statusNotNow}, false
	case c.problem != nil:
		return d.refusal(c), true
	case d.refuses(c, subject):
		return failed(
			&deviceError{domainInstall, installFailed, "The installation failed."},
			mdmError(mdmMalformedRequest, "The virtual device was told to refuse "+c.target+"."),
		), true
	}
	return handler(d, c), true
}

// refuses draws the faults that answer an installation with an Error.
func (d *Device) refuses(c *command, subject string) bool {
	if action, _ := split(c.requestType); action != "Install" {
		return false
	}
	return d.due("refuse", c.target, d.cfg.Faults.Refuse) || d.struck("refuse", subject, d.cfg.Faults.RefuseShare)
}

func (d *Device) refusal(c *command) result {
	var link *deviceError
	if !errors.As(c.problem, &link) {
		link = mdmError(mdmMalformedRequest, c.problem.Error())
	}
	if c.requestType == "InstallProfile" {
		return failed(&deviceError{domainInstall, installFailed, "Profile failed to install."}, link)
	}
	res := failed(link)
	switch c.requestType {
	case "InstallApplication":
		res.keys = dict{"RejectionReason": "CouldNotVerifyAppID"}
	case "InstallMedia":
		res.keys = dict{"RejectionReason": "DownloadInvalid"}
	}
	return res
}

func (d *Device) answerMessage(e *enrolment, c *command, res result) (message, error) {
	body := dict{"UDID": d.cfg.UDID, "Status": res.status, "CommandUUID": c.uuid}
	for key, value := range res.keys {
		body[key] = value
	}
	if len(res.chain) > 0 {
		body["ErrorChain"] = errorChain(res.chain...)
	}
	raw, err := encode(body)
	if err != nil {
		return message{}, err
	}
	return message{
		name: c.requestType, subject: "answer " + c.requestType + " " + c.target,
		url: text(e.mdm, "ServerURL"), media: commandMedia, body: raw,
	}, nil
}

// study finds the target of a command and what its content is; that may need the network but not the state.
func (d *Device) study(ctx context.Context, e *enrolment, boot int, c *command) {
	switch c.requestType {
	case "InstallProfile":
		raw := data(c.body, "Payload")
		c.content = hash(raw)
		if c.profile, c.problem = parseProfile(raw, d.open(e)); c.profile != nil {
			c.target = c.profile.identifier
		}
	case "InstallApplication":
		c.content = hashOf(c.body)
		c.target, c.problem = d.bundleID(ctx, e, c.body)
	case "InstallMedia":
		c.content = hashOf(c.body)
		c.target = bookID(c.body)
		d.fetchBook(ctx, boot, c)
	case "RemoveMedia":
		c.target = bookID(c.body)
	case "RemoveProfile", "RemoveApplication":
		c.target = text(c.body, "Identifier")
	}
}

// fetchBook downloads what an InstallMedia brings. Its content is what was downloaded, with what the command says of it: the
// address may differ each time.
func (d *Device) fetchBook(ctx context.Context, boot int, c *command) {
	if text(c.body, "MediaURL") == "" || text(c.body, "MediaType") != "Book" || !d.takesMedia() {
		return
	}
	if c.download, c.problem = d.download(ctx, boot, c.body); c.problem != nil {
		c.problem = mdmError(mdmMalformedRequest, "The book could not be downloaded: "+c.problem.Error())
		return
	}
	facts := dict{"download": c.download}
	copyTexts(facts, c.body, "PersistentID", "Kind", "Version", "Author", "Title")
	c.content = hashOf(facts)
}

// bookID names a book by its persistent identifier or, for one from the store, by its number.
func bookID(body dict) string {
	if n, ok := integer(body, "iTunesStoreID"); ok {
		return cmp.Or(text(body, "PersistentID"), strconv.FormatInt(n, 10))
	}
	return cmp.Or(text(body, "PersistentID"), text(body, "iTunesStoreID"))
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func hashOf(d dict) string {
	raw, err := encode(d)
	if err != nil {
		return ""
	}
	return hash(raw)
}
