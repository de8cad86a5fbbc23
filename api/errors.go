package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/muster-mdm/muster/api/intake"
	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// Codes of errors that arise at the interface itself.
const (
	codeUnauthorized         provision.Code = "unauthorized"
	codeForbidden            provision.Code = "forbidden"
	codeRouteNotFound        provision.Code = "route_not_found"
	codeNotAcceptable        provision.Code = "not_acceptable"
	codeUnsupportedMediaType provision.Code = "unsupported_media_type"
	codeInvalidJSON          provision.Code = "invalid_json"
	codeInvalidParameter     provision.Code = "invalid_parameter"
	codeCursorInvalid        provision.Code = "cursor_invalid"
	codeKeyReused            provision.Code = "idempotency_key_reused"
	codeKeyInUse             provision.Code = "idempotency_key_in_use"
	codeAssignmentNotFound   provision.Code = "assignment_not_found"
	codeNotConfigured        provision.Code = "not_configured"
	codeTimeout              provision.Code = "timeout"
)

// meaning is the HTTP status and title of a code.
type meaning struct {
	status int
	title  string
}

// meanings is the one place where codes become HTTP.
var meanings = map[provision.Code]meaning{
	codeInvalidJSON:                  {http.StatusBadRequest, "Malformed JSON"},
	codeInvalidParameter:             {http.StatusBadRequest, "Invalid parameter"},
	codeCursorInvalid:                {http.StatusBadRequest, "Invalid cursor"},
	provision.CheckinMalformed:       {http.StatusBadRequest, "Malformed check-in"},
	codeUnauthorized:                 {http.StatusUnauthorized, "Unauthorized"},
	provision.SignInRefused:          {http.StatusUnauthorized, "Sign-in refused"},
	codeForbidden:                    {http.StatusForbidden, "Forbidden"},
	provision.IdentityRefused:        {http.StatusForbidden, "Identity refused"},
	provision.ChallengeRefused:       {http.StatusForbidden, "Challenge refused"},
	provision.MachineInfoRefused:     {http.StatusForbidden, "Machine information refused"},
	provision.OSTooOld:               {http.StatusForbidden, "Operating system too old"},
	provision.SignInRequired:         {http.StatusForbidden, "Sign-in required"},
	provision.AccountDisabled:        {http.StatusForbidden, "Account disabled"},
	provision.AccountExpired:         {http.StatusForbidden, "Account expired"},
	provision.AccountLocked:          {http.StatusForbidden, "Account locked"},
	provision.AccountRestricted:      {http.StatusForbidden, "Account restricted"},
	provision.PasswordExpired:        {http.StatusForbidden, "Password expired"},
	provision.PasswordMustChange:     {http.StatusForbidden, "Password must be changed"},
	provision.EmailMissing:           {http.StatusForbidden, "No e-mail address"},
	provision.EmailUnverified:        {http.StatusForbidden, "E-mail address not verified"},
	provision.SignInDenied:           {http.StatusForbidden, "Sign-in denied"},
	provision.IdentityTokenRefused:   {http.StatusForbidden, "Identity token refused"},
	codeRouteNotFound:                {http.StatusNotFound, "No such address"},
	provision.NotFound:               {http.StatusNotFound, "Not found"},
	provision.DeviceNotFound:         {http.StatusNotFound, "Device not found"},
	provision.GroupNotFound:          {http.StatusNotFound, "Group not found"},
	provision.UnknownCommand:         {http.StatusNotFound, "Unknown command"},
	codeAssignmentNotFound:           {http.StatusNotFound, "Nobody assigned"},
	provision.MethodNotAllowed:       {http.StatusMethodNotAllowed, "Method not allowed"},
	codeNotAcceptable:                {http.StatusNotAcceptable, "Not acceptable"},
	provision.AlreadyExists:          {http.StatusConflict, "Exists already"},
	provision.InUse:                  {http.StatusConflict, "In use"},
	provision.DeviceReleased:         {http.StatusConflict, "Device released"},
	provision.DeviceNotManaged:       {http.StatusConflict, "Device not managed"},
	provision.DeviceOnHold:           {http.StatusConflict, "Device on hold"},
	provision.DeviceInConflict:       {http.StatusConflict, "Device in conflict"},
	provision.DeviceOffABM:           {http.StatusConflict, "Device not in Apple Business Manager"},
	intake.NotInSetup:                {http.StatusConflict, "Device not in Setup Assistant"},
	intake.InSetup:                   {http.StatusConflict, "Device in Setup Assistant"},
	provision.ReleasePending:         {http.StatusConflict, "Release pending"},
	provision.ReleaseBegun:           {http.StatusConflict, "Release under way"},
	intake.NotInABM:                  {http.StatusConflict, "Device not in Apple Business Manager"},
	intake.InConflict:                {http.StatusConflict, "Device listed by two servers"},
	intake.ServerUnlinked:            {http.StatusConflict, "Server not linked"},
	intake.ServerPaused:              {http.StatusConflict, "Server paused"},
	intake.ServerWorks:               {http.StatusConflict, "Server works"},
	provision.NotWithdrawable:        {http.StatusConflict, "Device not withdrawable"},
	provision.NotInReview:            {http.StatusConflict, "Nothing to review"},
	store.OperationState:             {http.StatusConflict, "Not in this state"},
	store.RowsInError:                {http.StatusConflict, "Rows in error"},
	store.NotUndoable:                {http.StatusConflict, "Can't be undone"},
	store.ImportDuplicate:            {http.StatusConflict, "Uploaded before"},
	store.ConfirmationInvalid:        {http.StatusConflict, "Confirmation invalid"},
	intake.ConfirmationRequired:      {http.StatusPreconditionRequired, "To be confirmed"},
	intake.ConfirmationCount:         {http.StatusUnprocessableEntity, "Number does not match"},
	intake.TooManyDevices:            {http.StatusUnprocessableEntity, "Too many devices"},
	intake.NoDevices:                 {http.StatusUnprocessableEntity, "No devices"},
	intake.ImportUnreadable:          {http.StatusUnprocessableEntity, "File can't be imported"},
	intake.AssignmentTimeInvalid:     {http.StatusUnprocessableEntity, "Invalid time"},
	provision.ReviewInvalid:          {http.StatusUnprocessableEntity, "Invalid choice"},
	provision.DeprovisionInvalid:     {http.StatusUnprocessableEntity, "Invalid deprovisioning"},
	store.ABMTokenOther:              {http.StatusConflict, "Server token of another server"},
	codeKeyInUse:                     {http.StatusConflict, "Request under way"},
	provision.SignInStateInvalid:     {http.StatusConflict, "Another sign-in"},
	provision.SignInExpired:          {http.StatusConflict, "Sign-in expired"},
	provision.VersionConflict:        {http.StatusPreconditionFailed, "Version conflict"},
	provision.PayloadTooLarge:        {http.StatusRequestEntityTooLarge, "Too large"},
	codeUnsupportedMediaType:         {http.StatusUnsupportedMediaType, "Unsupported media type"},
	provision.Invalid:                {http.StatusUnprocessableEntity, "Invalid input"},
	provision.SerialInvalid:          {http.StatusUnprocessableEntity, "Invalid serial number"},
	provision.GroupNameInvalid:       {http.StatusUnprocessableEntity, "Invalid group name"},
	provision.TechnicianNotFound:     {http.StatusUnprocessableEntity, "Technician not found"},
	provision.AssignmentEmpty:        {http.StatusUnprocessableEntity, "Empty assignment"},
	provision.ItemNotFound:           {http.StatusUnprocessableEntity, "Item not found"},
	provision.ItemConflict:           {http.StatusUnprocessableEntity, "Items in conflict"},
	provision.DependencyCycle:        {http.StatusUnprocessableEntity, "Circular dependency"},
	provision.DependencyMissing:      {http.StatusUnprocessableEntity, "Missing dependency"},
	provision.ReleaseReason:          {http.StatusUnprocessableEntity, "Invalid reason for release"},
	provision.ReleaseSerial:          {http.StatusUnprocessableEntity, "Serial number does not match"},
	provision.ConfigurationBad:       {http.StatusUnprocessableEntity, "Invalid configuration"},
	provision.DocumentBad:            {http.StatusUnprocessableEntity, "Invalid document"},
	provision.DocumentLinkRefused:    {http.StatusForbidden, "Not an address of a document"},
	provision.AppBad:                 {http.StatusUnprocessableEntity, "Invalid app"},
	provision.ABMTokenInvalid:        {http.StatusUnprocessableEntity, "Not a server token"},
	provision.ABMTokenForeignKey:     {http.StatusUnprocessableEntity, "Server token for another key"},
	provision.ABMAccountInvalid:      {http.StatusUnprocessableEntity, "Invalid API account"},
	provision.DeviceProfileBad:       {http.StatusUnprocessableEntity, "Invalid device profile"},
	intake.NameMismatch:              {http.StatusUnprocessableEntity, "Name does not match"},
	provision.AccountFormat:          {http.StatusUnprocessableEntity, "Malformed account name"},
	provision.DomainUnknown:          {http.StatusUnprocessableEntity, "Unknown domain"},
	provision.DirectoryInvalid:       {http.StatusUnprocessableEntity, "Invalid directory settings"},
	provision.EditionRefuses:         {http.StatusUnprocessableEntity, "Not in this edition"},
	codeKeyReused:                    {http.StatusUnprocessableEntity, "Idempotency key used otherwise"},
	provision.RateLimited:            {http.StatusTooManyRequests, "Too many requests"},
	provision.SignInLocked:           {http.StatusTooManyRequests, "Too many tries to sign in"},
	intake.DirectoryRequired:         {http.StatusUnprocessableEntity, "No directory to sign in to"},
	provision.Internal:               {http.StatusInternalServerError, "Internal error"},
	provision.KeyringKeyUnknown:      {http.StatusInternalServerError, "Key missing from the keyring"},
	provision.SecretUnreadable:       {http.StatusInternalServerError, "Secret unreadable"},
	codeNotConfigured:                {http.StatusNotImplemented, "Not configured"},
	provision.KeyringMissing:         {http.StatusNotImplemented, "No keyring"},
	provision.PushCertificateMissing: {http.StatusServiceUnavailable, "Push certificate missing"},
	provision.AnchorsMissing:         {http.StatusServiceUnavailable, "Trust anchors missing"},
	provision.DirectoryUnavailable:   {http.StatusServiceUnavailable, "Directory unavailable"},
	provision.StorageUnavailable:     {http.StatusServiceUnavailable, "Storage unavailable"},
	provision.WorkflowUnavailable:    {http.StatusServiceUnavailable, "Workflow engine unavailable"},
	codeTimeout:                      {http.StatusServiceUnavailable, "Took too long"},
}

// Title is the title of problems with a code, for whoever else writes problems.
func Title(code provision.Code) string {
	m, ok := meanings[code]
	if !ok {
		m = meanings[provision.Internal]
	}
	return m.title
}

// fault is an error that names several inputs, or sets headers.
type fault struct {
	code   provision.Code
	detail string
	fields []fieldFault
	header map[string]string
	// confirm says how to have what was refused done.
	confirm *Confirmation
}

type fieldFault struct{ field, detail string }

func (f *fault) Error() string { return f.detail }

func faultf(code provision.Code, format string, args ...any) *fault {
	return &fault{code: code, detail: fmt.Sprintf(format, args...)}
}

func (f *fault) at(field string) *fault {
	f.fields = append(f.fields, fieldFault{field, f.detail})
	return f
}

func (f *fault) with(header, value string) *fault {
	if f.header == nil {
		f.header = map[string]string{}
	}
	f.header[header] = value
	return f
}

// faultOf says what an error is to the caller; everything unknown is internal and keeps its text to itself.
func faultOf(err error) *fault {
	var known *fault
	var rule *provision.Error
	var tooLarge *http.MaxBytesError
	var fromEcho *echo.HTTPError
	var confirm *intake.ConfirmationError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &confirm):
		f := faultf(confirm.Why.Code, "%s", confirm.Why.Message)
		f.confirm = renderConfirmation(confirm)
		return f
	case errors.As(err, &rule):
		f := faultf(rule.Code, "%s", rule.Message)
		for _, e := range append([]*provision.Error{rule}, rule.Others...) {
			if e.Field != "" {
				f.fields = append(f.fields, fieldFault{e.Field, e.Message})
			}
		}
		return f
	case errors.As(err, &tooLarge):
		return faultOf(intake.TooLarge("The request", tooLarge.Limit))
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return faultf(codeTimeout, "The request took too long; nothing was changed, or all of it. Try again.").with("Retry-After", "5")
	case errors.As(err, &fromEcho):
		return faultOfEcho(fromEcho)
	}
	return faultf(provision.Internal, "Something went wrong here; the server's log has the details under the request id.")
}

func faultOfEcho(err *echo.HTTPError) *fault {
	switch err.Code {
	case http.StatusNotFound:
		return faultf(codeRouteNotFound, "There is nothing at this address.")
	case http.StatusMethodNotAllowed:
		return faultf(provision.MethodNotAllowed, "The address does not take this method; see Allow.")
	case http.StatusRequestEntityTooLarge:
		return faultf(provision.PayloadTooLarge, "The request is too large.")
	case http.StatusUnsupportedMediaType:
		return faultf(codeUnsupportedMediaType, "The media type is not supported.")
	case http.StatusBadRequest:
		return faultf(codeInvalidParameter, "%v", err.Message)
	}
	return faultf(provision.Internal, "Something went wrong here; the server's log has the details under the request id.")
}

// statusOf is the status of a fault. What is not found but was named in the input is the input's fault, not the
// address's.
func (f *fault) statusOf() (status int, title string) {
	m, ok := meanings[f.code]
	if !ok {
		m = meanings[provision.Internal]
	}
	if m.status == http.StatusNotFound && len(f.fields) > 0 {
		m.status = http.StatusUnprocessableEntity
	}
	return m.status, m.title
}

const explained = "https://github.com/muster-mdm/muster/blob/main/docs/troubleshooting.md#"

func (f *fault) problem(requestID string) Problem {
	status, title := f.statusOf()
	p := Problem{
		Type: explained + string(f.code), Title: title, Status: status, Detail: f.detail, Code: string(f.code),
		Instance: "urn:muster:request:" + requestID, RequestId: requestID,
	}
	p.Confirmation = f.confirm
	if len(f.fields) > 0 {
		list := make([]struct {
			Detail string `json:"detail"`
			Field  string `json:"field"`
		}, len(f.fields))
		for i, at := range f.fields {
			list[i].Field, list[i].Detail = at.field, at.detail
		}
		p.Errors = &list
	}
	return p
}

type problems struct{ log *slog.Logger }

// write is echo's error handler: it answers with a problem, and keeps the text of what is nobody's business for the log.
func (p problems) write(err error, c echo.Context) {
	f := faultOf(err)
	ctx := c.Request().Context()
	var rule *provision.Error
	switch {
	case f.code == provision.Internal || f.code == provision.StorageUnavailable || f.code == codeTimeout:
		p.log.ErrorContext(ctx, "request failed", "request_id", idOf(c), "route", routeOf(c), "error", err)
	case errors.As(err, &rule) && err.Error() != rule.Message: // there is a cause that the caller isn't told
		p.log.InfoContext(ctx, "request refused", "request_id", idOf(c), "route", routeOf(c), "error", err)
	}
	c.Set(codeKey, string(f.code))
	if c.Response().Committed {
		return
	}
	body, err := json.Marshal(f.problem(idOf(c)))
	if err != nil {
		p.log.ErrorContext(ctx, "problem not written", "request_id", idOf(c), "error", err)
		return
	}
	for name, value := range f.header {
		c.Response().Header().Set(name, value)
	}
	status, _ := f.statusOf()
	if status == http.StatusServiceUnavailable && c.Response().Header().Get("Retry-After") == "" {
		c.Response().Header().Set("Retry-After", "5")
	}
	if err := c.Blob(status, "application/problem+json", body); err != nil {
		p.log.WarnContext(ctx, "problem not sent", "request_id", idOf(c), "error", err)
	}
}
