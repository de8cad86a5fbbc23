package checkin_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/micromdm/nanomdm/cryptoutil"
	mdmhttp "github.com/micromdm/nanomdm/http/mdm"
	"github.com/micromdm/nanomdm/service/certauth"
	"github.com/micromdm/nanomdm/service/nanomdm"
	"github.com/micromdm/nanomdm/storage/pgsql"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/apple/mdm"
)

// BenchmarkIdle measures a device that asks for its next command and gets none: here, and at NanoMDM alone on the same
// database.
func BenchmarkIdle(b *testing.B) {
	e := start(b, nil)
	p := e.enrolled(serial)
	nano, err := pgsql.New(pgsql.WithDB(e.db.NanoMDM()))
	require.NoError(b, err)
	bare := mdmhttp.CertExtractMdmSignatureMiddleware(
		mdmhttp.CheckinAndCommandHandler(certauth.New(nanomdm.New(nano), nano), mdm.Logger(quiet)),
		mdmhttp.MdmSignatureVerifierFunc(cryptoutil.VerifyMdmSignature))
	body := marshal(b, dict{"UDID": p.udid, "Status": "Idle"})
	for name, handler := range map[string]http.Handler{"muster": e.server.Config.Handler, "nanomdm": bare} {
		b.Run(name, func(b *testing.B) {
			signed := p.request(answerMedia, body).Header
			for b.Loop() {
				r := httptest.NewRequest(http.MethodPut, "/mdm", bytes.NewReader(body))
				r.Header = signed
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, r)
				if w.Code != http.StatusOK {
					b.Fatal(w.Code, w.Body)
				}
			}
		})
	}
}
