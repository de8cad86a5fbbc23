package provision

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// DocumentFormat is what a document is written in, in Apple's word for the Kind of a book.
type DocumentFormat string

// Formats of documents (Apple, InstallMediaCommand.Command).
const (
	PDF    DocumentFormat = "pdf"
	EPUB   DocumentFormat = "epub"
	IBooks DocumentFormat = "ibooks"
)

// ValidDocumentFormat reports whether f is a format.
func ValidDocumentFormat(f DocumentFormat) bool { return f == PDF || f == EPUB || f == IBooks }

// DocumentSource is what an InstallMedia says of a document.
type DocumentSource struct {
	// URL is where the device fetches it.
	URL           string
	Format        DocumentFormat
	Title, Author string
}

// Book is a managed book as a device lists it (Apple, ManagedMediaListResponse).
type Book struct {
	State string
	// Version is that of the InstallMedia; "" = the device didn't say.
	Version string
}

// bookFailed are the states after which a book will not come by itself. Failed and Unknown are reported only once; Installed
// are books of the store, which a document isn't.
var bookFailed = []string{"Failed", "Unknown", "ManagedButUninstalled", "Uninstalled", "Installed"}

// bookGone are the states of a book that is listed and not on the device any more.
var bookGone = []string{"ManagedButUninstalled", "Uninstalled"}

// takeRemoval: a device acknowledges the removal of a book whether it has it or not, so that it is gone is seen by a list.
func (i *PlanItem) takeRemoval() bool {
	if i.Polls > 0 {
		return false
	}
	i.Polls, i.Detail = 1, ""
	return true
}

// leavesUnseen: the document was removed, or is about to be in the same queue, and no list has shown it yet.
func (i PlanItem) leavesUnseen(was ItemState) bool {
	return i.Key.Kind == DocumentItem && i.State == Removing && (i.Polls > 0 || was == RemovePending)
}

// idlePolls counts the lists that had nothing new to say of the item.
func (i PlanItem) idlePolls() int {
	if i.State == Removing {
		return i.Polls - 1
	}
	return i.Polls
}

func (i *PlanItem) takeBooks(a Answer, failed bool) bool {
	switch {
	case i.Key.Kind != DocumentItem:
		return false
	case i.State == Removing && i.Polls > 0:
		i.takeAbsence(a, failed)
	case i.State == Acknowledged:
		i.takeBook(a, failed)
	default:
		return false
	}
	return true
}

func (i *PlanItem) takeBook(a Answer, failed bool) {
	book, listed := a.Books[i.Identifier]
	switch {
	case failed:
		i.State, i.Detail = Failed, "The device refused to list its documents: "+refusal(a)
	case !listed:
		i.State, i.Detail = Failed, "The device acknowledged the document but does not list it."
	case book.State == "Managed" && (book.Version == "" || book.Version == strconv.Itoa(i.Version)):
		i.State, i.Detail = Verified, ""
	case book.State == "Managed":
		i.waitFor(fmt.Sprintf("The device still has version %.20q of the document.", book.Version))
	case slices.Contains(bookFailed, book.State):
		i.State, i.Detail, i.Final = Failed, "The device reports the document as "+book.State+".", slices.Contains(declined, book.State)
	case book.State == "PromptingForLogin":
		i.waitFor("The document waits for an Apple Account to sign in on the device (" + book.State + ").")
	default:
		i.waitFor("The document is under way (" + book.State + ").")
	}
}

// takeAbsence ends a removal once the device doesn't list the document. What it lists on is asked after, and removed anew at
// the next nudge.
func (i *PlanItem) takeAbsence(a Answer, failed bool) {
	book, listed := a.Books[i.Identifier]
	switch {
	case failed:
		i.Detail = "The device refused to list its documents: " + refusal(a)
		i.Polls++
	case !listed || slices.Contains(bookGone, book.State):
		i.State, i.Detail, i.Polls = Removed, "", 0
	default:
		i.Detail = "The device acknowledged the removal but still lists the document as " + book.State + "."
		i.Polls++
	}
}

// rejections say in words what a device means (Apple, InstallMediaResponse, RejectionReason).
var rejections = map[string]string{
	"DownloadInvalid":                        "The device could not fetch the document from its address, or what it fetched is no valid document.",
	"AppStoreDisabled":                       "The App Store isn't available on the device.",
	"WrongMediaType":                         "The device takes no media of this type.",
	"EnterpriseBooksNotSupportedInMultiUser": "The device is shared by several users and takes no documents of an organisation.",
}

// rejectedForGood are those that no repetition mends.
var rejectedForGood = []string{"WrongMediaType", "EnterpriseBooksNotSupportedInMultiUser"}

func rejection(a Answer) string {
	text, known := rejections[a.Rejection]
	if !known {
		text = fmt.Sprintf("The device turned the document down: %.60s.", a.Rejection)
	}
	if a.Detail != "" {
		text += " It says: " + a.Detail
	}
	return text
}

// families are how products of Apple's begin that take no documents, and what people call them.
var families = []struct{ product, name string }{
	{"Mac", "A Mac"},
	{"iMac", "A Mac"},
	{"VirtualMac", "A Mac"},
	{"AppleTV", "An Apple TV"},
	{"Watch", "An Apple Watch"},
	{"RealityDevice", "An Apple Vision"},
	{"AudioAccessory", "A HomePod"},
}

// WithoutDocuments names the kind of device that a product such as Mac14,2 is when it takes no documents: InstallMedia by an
// address exists in iOS and iPadOS only. It is "" for iPhones and iPads, and for products that aren't known, whose answer shows.
func WithoutDocuments(product string) string {
	for _, f := range families {
		if strings.HasPrefix(product, f.product) {
			return f.name
		}
	}
	return ""
}

// SpareDocuments settles the documents of a device that takes none, so that it isn't asked for what it can't do: those that
// are due have failed for good, and say why; those that should go were never there.
func SpareDocuments(items []PlanItem, product string, now time.Time) {
	who := WithoutDocuments(product)
	if who == "" {
		return
	}
	for i := range items {
		it := &items[i]
		if it.Key.Kind != DocumentItem {
			continue
		}
		switch it.State {
		case Pending:
			it.State, it.Final, it.UpdatedAt = Failed, true, now
			it.Detail = who + " takes no documents: only iPhones and iPads do. Bring it by a group that only those are in, or make it best_effort."
		case RemovePending:
			it.State, it.Detail, it.UpdatedAt = Removed, "", now
		case Failed:
			it.Final = true
		case Sent, Acknowledged, Verified, Removing, Removed:
		}
	}
}
