package bench

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/muster-mdm/muster/api/client"
)

// The groups of the measured organisation: a small real one, and one with more to talk about.
const (
	smallGroup = "bench"
	largeGroup = "bench-talk"

	appName, appID = "mail", "com.example.app.mail"
	manifestURL    = "https://apps.example.com/mail/manifest.plist"
	// talk is how many configurations the large group has.
	talk = 8
)

var smallConfigurations = []string{"wifi", "passcode"}

func largeConfigurations() []string {
	var names []string
	for i := range talk {
		names = append(names, fmt.Sprintf("talk-%d", i+1))
	}
	return names
}

// identifier is the payload identifier of a configuration.
func identifier(name string) string { return "com.example." + name }

const mobileconfig = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>PayloadType</key><string>Configuration</string>
	<key>PayloadVersion</key><integer>1</integer>
	<key>PayloadIdentifier</key><string>IDENTIFIER</string>
	<key>PayloadUUID</key><string>IDENTIFIER.uuid</string>
	<key>PayloadDisplayName</key><string>IDENTIFIER</string>
	<key>PayloadContent</key>
	<array>
		<dict>
			<key>PayloadType</key><string>com.apple.wifi.managed</string>
			<key>PayloadVersion</key><integer>1</integer>
			<key>PayloadIdentifier</key><string>IDENTIFIER.wifi</string>
			<key>PayloadUUID</key><string>IDENTIFIER.wifi.uuid</string>
			<key>SSID_STR</key><string>example</string>
			<key>HIDDEN_NETWORK</key><false/>
			<key>EncryptionType</key><string>WPA2</string>
			<key>Password</key><string>correct horse battery staple</string>
		</dict>
	</array>
</dict>
</plist>
`

// furnish gives muster what the devices get.
func (s *stage) furnish(ctx context.Context) error {
	api, err := client.NewClient(s.env.URL(), client.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
		r.Header.Set("Authorization", "Bearer "+s.env.Token())
		return nil
	}))
	if err != nil {
		return fmt.Errorf("making the API's client: %w", err)
	}
	large := largeConfigurations()
	for _, name := range append(large, smallConfigurations...) {
		content := strings.ReplaceAll(mobileconfig, "IDENTIFIER", identifier(name))
		if err := done(api.PutConfigurationWithBody(ctx, name, nil, "application/x-apple-aspen-config", strings.NewReader(content))); err != nil {
			return fmt.Errorf("uploading %s: %w", name, err)
		}
	}
	manifest := manifestURL
	if err := done(api.PutApp(ctx, appName, nil, client.AppInput{BundleId: appID, ManifestUrl: &manifest})); err != nil {
		return fmt.Errorf("putting the app: %w", err)
	}
	small := append(configurationItems(smallConfigurations), client.GroupItem{Kind: "app", Name: appName})
	for name, items := range map[string][]client.GroupItem{smallGroup: small, largeGroup: configurationItems(large)} {
		if err := done(api.PutGroup(ctx, name, nil, client.GroupInput{Items: items})); err != nil {
			return fmt.Errorf("putting the group %s: %w", name, err)
		}
	}
	return nil
}

func configurationItems(names []string) []client.GroupItem {
	var items []client.GroupItem
	for _, name := range names {
		items = append(items, client.GroupItem{Kind: "configuration", Name: name})
	}
	return items
}

// done tells a refusal.
func done(r *http.Response, err error) error {
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if r.StatusCode >= http.StatusMultipleChoices {
		return fmt.Errorf("the API answered %s", r.Status)
	}
	return nil
}
