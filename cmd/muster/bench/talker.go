package bench

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/micromdm/plist"
	"github.com/smallstep/pkcs7"

	"github.com/muster-mdm/muster/apple/identity"
	"github.com/muster-mdm/muster/store"
)

// talker is a device that says what was signed beforehand: what a device's own processor would do is no part of row b.
type talker struct {
	serial, udid string
	key          *rsa.PrivateKey
	cert         *x509.Certificate
	idle         message
	orders       []order
}

// order is a command that the device will get, with the answer.
type order struct {
	uuid   []byte
	answer message
}

// message is signed and ready to be sent.
type message struct {
	media     string
	body      []byte
	signature string
}

const (
	checkinMedia = "application/x-apple-aspen-mdm-checkin"
	answerMedia  = "application/x-apple-aspen-mdm"
	topic        = "com.apple.mgmt.External.rehearsal"
)

type dict = map[string]any

// newTalker makes a device known and gives it an identity as SCEP would.
func (s *stage) newTalker(ctx context.Context, db *store.DB, authority *identity.Authority, serial string) (*talker, error) {
	if err := s.customer.Register(ctx, serial); err != nil {
		return nil, err
	}
	key, err := s.keys.Get()
	if err != nil {
		return nil, err
	}
	challenge := sha256.Sum256([]byte(rand.Text()))
	if err := db.AddChallenge(ctx, serial, challenge, time.Hour); err != nil {
		return nil, err
	}
	der, err := db.Redeem(ctx, challenge, sha256.Sum256(x509.MarshalPKCS1PublicKey(&key.PublicKey)), func(serial string) ([]byte, error) {
		return authority.Issue(serial, key.Public())
	})
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading an identity: %w", err)
	}
	t := &talker{serial: serial, udid: "BENCH-" + serial, key: key, cert: cert}
	t.idle, err = t.sign(answerMedia, dict{"UDID": t.udid, "Status": "Idle"})
	return t, err
}

func (t *talker) sign(media string, say dict) (message, error) {
	body, err := plist.Marshal(say)
	if err != nil {
		return message{}, fmt.Errorf("writing a message: %w", err)
	}
	signed, err := pkcs7.NewSignedData(body)
	if err != nil {
		return message{}, fmt.Errorf("signing a message: %w", err)
	}
	signed.SetDigestAlgorithm(pkcs7.OIDDigestAlgorithmSHA256)
	if err := signed.AddSigner(t.cert, t.key, pkcs7.SignerInfoConfig{}); err != nil {
		return message{}, fmt.Errorf("signing a message: %w", err)
	}
	signed.Detach()
	der, err := signed.Finish()
	if err != nil {
		return message{}, fmt.Errorf("signing a message: %w", err)
	}
	return message{media: media, body: body, signature: base64.StdEncoding.EncodeToString(der)}, nil
}

// enroll sends what opens and completes an enrollment.
func (t *talker) enroll(ctx context.Context, to *server) error {
	for _, say := range []dict{
		{"MessageType": "Authenticate", "SerialNumber": t.serial, "OSVersion": "18.1", "BuildVersion": "22B83", "ProductName": "iPhone14,5"},
		{"MessageType": "TokenUpdate", "Token": sha256.New().Sum([]byte(t.serial))[:32], "PushMagic": t.udid, "AwaitingConfiguration": false},
	} {
		say["UDID"], say["Topic"] = t.udid, topic
		m, err := t.sign(checkinMedia, say)
		if err != nil {
			return err
		}
		if _, err := to.send(ctx, m); err != nil {
			return fmt.Errorf("%s of device %s: %w", say["MessageType"], t.serial, err)
		}
	}
	return nil
}

// prepare signs the answer to a command that waits for the device.
func (t *talker) prepare(uuid, requestType string) error {
	say := dict{"UDID": t.udid, "Status": "Acknowledged", "CommandUUID": uuid}
	switch requestType {
	case "DeviceInformation":
		say["QueryResponses"] = dict{"DeviceName": "iPhone", "OSVersion": "18.1", "BuildVersion": "22B83", "ProductName": "iPhone14,5", "Model": "MLPF3"}
	case "ProfileList":
		var list []dict
		for _, id := range t.profiles() {
			list = append(list, dict{"PayloadIdentifier": id, "PayloadUUID": id, "PayloadVersion": 1, "IsManaged": true, "PayloadContent": []any{}})
		}
		say["ProfileList"] = list
	}
	answer, err := t.sign(answerMedia, say)
	t.orders = append(t.orders, order{[]byte(uuid), answer})
	return err
}

func (t *talker) profiles() []string {
	ids := []string{identity.DefaultProfileIdentifier}
	for _, name := range largeConfigurations() {
		ids = append(ids, identifier(name))
	}
	return ids
}

// talk is one connection of the device to its server: it reports that it is idle, and answers all that it is told to do.
func (t *talker) talk(ctx context.Context, to *server) error {
	told, err := to.send(ctx, t.idle)
	for _, o := range t.orders {
		if err != nil {
			return err
		}
		if !bytes.Contains(told, o.uuid) {
			return fmt.Errorf("device %s should be told %s, not %.300q", t.serial, o.uuid, told)
		}
		told, err = to.send(ctx, o.answer)
	}
	if err == nil && len(told) > 0 {
		err = fmt.Errorf("device %s should be told nothing more, not %.300q", t.serial, told)
	}
	return err
}

// server is an MDM endpoint.
type server struct {
	url    string
	client *http.Client
}

func newServer(url string) *server {
	return &server{url: url, client: &http.Client{
		Timeout: time.Minute, Transport: &http.Transport{MaxIdleConns: 2 * hands, MaxIdleConnsPerHost: 2 * hands},
	}}
}

// send sends a message, which must be taken, and returns what the device is told.
func (s *server) send(ctx context.Context, m message) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, s.url, bytes.NewReader(m.body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Content-Type", m.media)
	r.Header.Set("Mdm-Signature", m.signature)
	res, err := s.client.Do(r)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	told, err := io.ReadAll(res.Body)
	if err != nil {
		return nil, fmt.Errorf("reading what a device is told: %w", err)
	}
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the server answered %s: %.300q", res.Status, told)
	}
	return told, nil
}
