package provision

import (
	"errors"
	"fmt"
)

// Code is the stable name of an error, the same in REST answers, logs, the CLI and the troubleshooting page.
// Once released, a code is never renamed.
type Code string

// The codes that rules, store and interfaces share. HTTP statuses for them are in one place, api/errors.go.
const (
	Internal           Code = "internal"
	Invalid            Code = "invalid"
	SerialInvalid      Code = "serial_invalid"
	NotFound           Code = "not_found"
	DeviceNotFound     Code = "device_not_found"
	DeviceReleased     Code = "device_released"
	DeviceNotManaged   Code = "device_not_managed"
	GroupNotFound      Code = "group_not_found"
	GroupNameInvalid   Code = "group_name_invalid"
	TechnicianNotFound Code = "technician_not_found"
	AssignmentEmpty    Code = "assignment_empty"
	ItemNotFound       Code = "item_not_found"
	ItemConflict       Code = "item_conflict"
	DependencyCycle    Code = "dependency_cycle"
	DependencyMissing  Code = "dependency_missing"
	InUse              Code = "in_use"
	AlreadyExists      Code = "already_exists"
	VersionConflict    Code = "version_conflict"
	ReleaseReason      Code = "release_reason_invalid"
	ReleaseSerial      Code = "release_serial_mismatch"
	ReleasePending     Code = "release_pending"
	ReleaseBegun       Code = "release_begun"
	ConfigurationBad   Code = "configuration_invalid"
	AppBad             Code = "app_invalid"
	DocumentBad        Code = "document_invalid"
	// DocumentLinkRefused: whoever asks for a document has no address of it that is good.
	DocumentLinkRefused Code = "document_link_refused"
	DeviceProfileBad    Code = "device_profile_invalid"
	UnknownCommand      Code = "unknown_command"
	IdentityRefused     Code = "identity_refused"
	ChallengeRefused    Code = "challenge_refused"
	CheckinMalformed    Code = "checkin_malformed"
	MethodNotAllowed    Code = "method_not_allowed"
	PayloadTooLarge     Code = "payload_too_large"
	StorageUnavailable  Code = "storage_unavailable"
	WorkflowUnavailable Code = "workflow_unavailable"
	RateLimited         Code = "rate_limited"
	// What keeps a device that is switched on from enrolling.
	MachineInfoRefused Code = "machine_info_refused"
	AnchorsMissing     Code = "enroll_anchors_missing"
	DeviceOnHold       Code = "device_on_hold"
	DeviceInConflict   Code = "device_in_conflict"
	DeviceOffABM       Code = "device_off_abm"
	OSTooOld           Code = "os_too_old"
	SignInRequired     Code = "sign_in_required"
	DeprovisionInvalid Code = "deprovision_invalid"
	// PushCertificateMissing: no device can be woken, so none should enroll.
	PushCertificateMissing Code = "push_certificate_missing"
	// KeyringMissing: secrets can be neither stored nor read.
	KeyringMissing Code = "keyring_missing"
	// KeyringKeyUnknown: a secret was sealed with a key that the keyring has no more.
	KeyringKeyUnknown Code = "keyring_key_unknown"
	// SecretUnreadable: what is stored as a secret can't be opened.
	SecretUnreadable Code = "secret_unreadable"
	// ABMTokenInvalid: what was uploaded isn't a server token of Apple Business Manager.
	ABMTokenInvalid Code = "abm_token_invalid" //nolint:gosec // the name of an error
	// ABMTokenForeignKey: the server token was made for another server's certificate.
	ABMTokenForeignKey Code = "abm_token_foreign_key" //nolint:gosec // the name of an error
	// ABMAccountInvalid: the API account of Apple Business Manager can't be used as it was entered.
	ABMAccountInvalid Code = "abm_account_invalid"
)

// The codes of people who sign in, and of the directories that they sign in against.
const (
	AccountFormat Code = "account_format"
	DomainUnknown Code = "domain_unknown"
	// SignInRefused says no more than that: whether the account exists is nobody's business.
	SignInRefused      Code = "sign_in_refused"
	AccountDisabled    Code = "account_disabled"
	AccountExpired     Code = "account_expired"
	AccountLocked      Code = "account_locked"
	AccountRestricted  Code = "account_restricted"
	PasswordExpired    Code = "password_expired"
	PasswordMustChange Code = "password_must_change"
	EmailMissing       Code = "email_missing"
	EmailUnverified    Code = "email_unverified"
	// DirectoryUnavailable: nothing was said about the account or its password.
	DirectoryUnavailable Code = "directory_unavailable"
	DirectoryInvalid     Code = "directory_invalid"
	EditionRefuses       Code = "edition_refuses_directory"
	SignInStateInvalid   Code = "sign_in_state_invalid"
	SignInExpired        Code = "sign_in_expired"
	// SignInLocked: too many tries failed, so nobody is asked for a while.
	SignInLocked         Code = "sign_in_locked"
	SignInDenied         Code = "sign_in_denied"
	IdentityTokenRefused Code = "identity_token_refused"
)

// Error is an error for people: a stable code and a sentence that says what happened and what to do.
type Error struct {
	Code    Code
	Message string
	// Field names the input at fault as a JSON path, when there is one.
	Field string
	// Others are further problems of the same input, each with its field.
	Others []*Error
}

// Error returns the sentence.
func (e *Error) Error() string { return e.Message }

// Errorf makes an [Error] with a code and a sentence.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// At returns the error with the field at fault named.
func (e *Error) At(field string) *Error {
	named := *e
	named.Field = field
	return &named
}

// CodeOf returns the code of the first [Error] in err's chain, [Internal] for any other error and "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return Internal
}
