package enroll

import (
	"fmt"
	"net/http"

	"github.com/muster-mdm/muster/api/throttle"
	"github.com/muster-mdm/muster/provision"
)

// LimitSCEP slows down addresses that ask for certificates too often, whatever of it is granted: each request has the authority
// use its private key, which costs more than the asking. What anybody may read of the service costs nothing.
func (d *Door) LimitSCEP(service http.Handler) http.Handler {
	addresses := throttle.New(perAddress, addressBurst)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("operation") == "PKIOperation" {
			if wait := addresses.Wait(d.addressOf(r)); wait > 0 {
				seconds := throttle.Seconds(wait)
				d.config.Log.WarnContext(r.Context(), "scep message refused", "remote", r.RemoteAddr, "code", string(provision.RateLimited))
				w.Header().Set("Retry-After", seconds)
				http.Error(w, fmt.Sprintf("Too many requests; wait %s s.", seconds), http.StatusTooManyRequests)
				return
			}
		}
		service.ServeHTTP(w, r)
	})
}
