package settings

import (
	"fmt"
	"net/url"
)

// Client says which Muster a client's command talks to, and as whom.
type Client struct {
	URL   string `env:"URL" envDefault:"http://127.0.0.1:8080" help:"address of Muster's API"`
	Token string `env:"TOKEN" secret:"true" help:"API token"`
}

// Check refuses settings without a token, and an address that is none.
func (c Client) Check() error {
	if u, err := url.Parse(c.URL); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return fmt.Errorf("%sURL is %q; give an address such as https://muster.example.com", Prefix, c.URL)
	}
	if c.Token == "" {
		return fmt.Errorf("no API token is set: log in by muster login, or give --token, %sTOKEN or %sTOKEN_FILE", Prefix, Prefix)
	}
	return nil
}
