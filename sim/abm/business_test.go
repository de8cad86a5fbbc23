package abm_test

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	axmclient "github.com/micromdm/nanoaxm/client"
	"github.com/micromdm/nanoaxm/goaxm"
	axmabm "github.com/micromdm/nanoaxm/goaxm/abm"
	axmstorage "github.com/micromdm/nanoaxm/storage"
	"github.com/micromdm/nanoaxm/storage/inmem"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/sim/abm"
)

const apple = "https://api-business.apple.com"

// axm is nanoaxm's client with an API account of the portal.
type axm struct {
	*goaxm.Client
	*wire
	account abm.Account
	t       *testing.T
}

func (p *portal) api(readOnly bool) *axm {
	p.t.Helper()
	account, err := p.AddAccount(readOnly)
	require.NoError(p.t, err)
	return p.apiWith(account)
}

func (p *portal) apiWith(account abm.Account) *axm {
	p.t.Helper()
	store := inmem.New()
	credentials := axmstorage.AuthCredentials{ClientID: account.ClientID, KeyID: account.KeyID, PrivateKeyPEM: account.PrivateKeyPEM}
	require.NoError(p.t, store.StoreAuthCredentials(p.t.Context(), name, credentials))
	w := p.wire(0)
	return &axm{Client: goaxm.NewClient(store, goaxm.WithClient(&http.Client{Transport: w})), wire: w, account: account, t: p.t}
}

type resource struct {
	Type       string `json:"type"`
	ID         string `json:"id"`
	Attributes struct {
		Serial   string  `json:"serialNumber"`
		Status   string  `json:"status"`
		Sub      string  `json:"subStatus"`
		Model    string  `json:"deviceModel"`
		Name     string  `json:"serverName"`
		Released *string `json:"releasedFromOrgDateTime"`
		Done     *string `json:"completedDateTime"`
		Log      string  `json:"downloadUrl"`
	} `json:"attributes"`
}

type one struct {
	Data resource `json:"data"`
}

type many struct {
	Data  []resource `json:"data"`
	Links struct {
		Next string `json:"next"`
	} `json:"links"`
	Meta struct {
		Paging struct {
			Limit int    `json:"limit"`
			Next  string `json:"nextCursor"`
		} `json:"paging"`
	} `json:"meta"`
}

func (a *axm) get(path string, into any) error {
	return a.Do(a.t.Context(), name, http.MethodGet, apple+path, nil, into, 0, []int{400, 401, 403, 404, 429})
}

func (a *axm) device(serial string) resource {
	a.t.Helper()
	var d one
	require.NoError(a.t, a.get("/v1/orgDevices/"+serial, &d))
	return d.Data
}

// walk follows the links from page to page and returns the ids.
func (a *axm) walk(path string) (ids []string) {
	a.t.Helper()
	for path != "" {
		var page many
		require.NoError(a.t, a.get(path, &page))
		for _, r := range page.Data {
			ids = append(ids, r.ID)
		}
		require.Equal(a.t, page.Links.Next == "", page.Meta.Paging.Next == "")
		path = strings.TrimPrefix(page.Links.Next, apple)
	}
	return ids
}

func (a *axm) act(kind, serverID string, serials ...string) (string, error) {
	var request axmabm.OrgDeviceActivityCreateRequestJson
	request.Data.Type = "orgDeviceActivities"
	request.Data.Attributes.ActivityType = axmabm.OrgDeviceActivityTypeJson(kind)
	if serverID != "" {
		request.Data.Relationships.MdmServer = &axmabm.OrgDeviceActivityCreateRequestDataRelationshipsMdmServer{
			Data: axmabm.OrgDeviceActivityCreateRequestDataRelationshipsMdmServerData{Id: serverID, Type: "mdmServers"},
		}
	}
	for _, serial := range serials {
		request.Data.Relationships.Devices.Data = append(request.Data.Relationships.Devices.Data,
			axmabm.OrgDeviceActivityCreateRequestDataRelationshipsDevicesData{Id: serial, Type: "orgDevices"})
	}
	answer, err := a.ABMv1OrgDeviceActivities(a.t.Context(), name, &request)
	if err != nil {
		return "", err
	}
	return answer.Data.Id, nil
}

func (a *axm) activity(id string) resource {
	a.t.Helper()
	var got one
	require.NoError(a.t, a.get("/v1/orgDeviceActivities/"+id, &got))
	return got.Data
}

func requireAPIError(t *testing.T, err error, status int, code string) {
	t.Helper()
	var refused *goaxm.ABMErrorResponseError
	require.ErrorAs(t, err, &refused)
	require.Len(t, refused.Errors, 1)
	require.Equal(t, [2]string{strconv.Itoa(status), code}, [2]string{refused.Errors[0].Status, refused.Errors[0].Code}, refused.Errors[0].Detail)
	require.NotEmpty(t, refused.Errors[0].Id)
}

func TestOrgDevicesByPages(t *testing.T) {
	p := open(t, abm.Config{})
	assigned, free := p.addNew(p.server.ID, 5), p.addNew("", 2)
	a := p.api(true)
	all := append(slices.Clone(assigned), free...)
	require.Equal(t, all, a.walk("/v1/orgDevices?limit=3"))
	require.Equal(t, all, a.walk("/v1/orgDevices"))
	require.Equal(t, assigned, a.walk("/v1/mdmServers/"+p.server.ID+"/relationships/devices?limit=2"))

	require.Equal(t, "ASSIGNED", a.device(assigned[0]).Attributes.Status)
	got := a.device(free[0])
	require.Equal(t, [3]string{"orgDevices", free[0], "UNASSIGNED"}, [3]string{got.Type, got.Attributes.Serial, got.Attributes.Status})
	require.Nil(t, got.Attributes.Released)
	require.NotEmpty(t, got.Attributes.Model)

	var few many
	require.NoError(t, a.get("/v1/orgDevices?limit=1&"+url.Values{"fields[orgDevices]": {"status"}}.Encode(), &few))
	require.Equal(t, "ASSIGNED", few.Data[0].Attributes.Status)
	require.Empty(t, few.Data[0].Attributes.Serial)
	require.Equal(t, 1, few.Meta.Paging.Limit)
}

// Apple's examples show imei and meid as lists, whatever some clients' types say.
func TestNumbersThatADeviceMayHaveSeveralOfAreLists(t *testing.T) {
	p := open(t, abm.Config{})
	require.NoError(t, p.Add("", abm.Spec{Serial: "C02PHONE0001", Family: "iPhone"}, abm.Spec{Serial: "C02MAC000001", Family: "Mac"}))
	a := p.api(true)
	numbers := func(serial string) (got struct {
		Data struct {
			Attributes struct {
				IMEI     []string `json:"imei"`
				MEID     []string `json:"meid"`
				EID      string   `json:"eid"`
				Ethernet []string `json:"ethernetMacAddress"`
				WiFi     string   `json:"wifiMacAddress"`
			} `json:"attributes"`
		} `json:"data"`
	},
	) {
		require.NoError(t, a.get("/v1/orgDevices/"+serial, &got))
		return got
	}
	phone, mac := numbers("C02PHONE0001").Data.Attributes, numbers("C02MAC000001").Data.Attributes
	require.Len(t, phone.IMEI, 2)
	for _, imei := range phone.IMEI {
		require.Regexp(t, "^[0-9]{15}$", imei)
	}
	require.Len(t, phone.MEID, 1)
	require.Len(t, phone.EID, 32)
	require.Equal(t, phone, numbers("C02PHONE0001").Data.Attributes)
	require.Empty(t, mac.IMEI)
	require.Len(t, mac.Ethernet, 1)
	require.Len(t, mac.WiFi, 12)
}

func TestServersOfTheOrganization(t *testing.T) {
	p := open(t, abm.Config{})
	other := p.AddServer(abm.Server{Name: "Other"})
	serial := p.addNew(other.ID, 1)[0]
	a := p.api(true)
	servers, err := a.ABMv1MDMServers(t.Context(), name, nil)
	require.NoError(t, err)
	require.Len(t, servers.Data, 2)
	require.Equal(t, p.server.ID, servers.Data[0].Id)
	require.Equal(t, "Muster", *servers.Data[0].Attributes.ServerName)
	require.Equal(t, "MDM", string(*servers.Data[0].Attributes.ServerType))
	require.Equal(t, []string{p.server.ID, other.ID}, a.walk("/v1/mdmServers?limit=1"))

	var got one
	require.NoError(t, a.get("/v1/mdmServers/"+other.ID, &got))
	require.Equal(t, "Other", got.Data.Attributes.Name)
	require.NoError(t, a.get("/v1/orgDevices/"+serial+"/assignedServer", &got))
	require.Equal(t, "Other", got.Data.Attributes.Name)
	var linked one
	require.NoError(t, a.get("/v1/orgDevices/"+serial+"/relationships/assignedServer", &linked))
	require.Equal(t, [2]string{"mdmServers", other.ID}, [2]string{linked.Data.Type, linked.Data.ID})

	require.NoError(t, p.Unassign(serial))
	requireAPIError(t, a.get("/v1/orgDevices/"+serial+"/assignedServer", &got), 404, "NOT_FOUND")
	requireAPIError(t, a.get("/v1/orgDevices/"+serial+"/relationships/assignedServer", &got), 404, "NOT_FOUND")
}

func TestBusinessRefusals(t *testing.T) {
	p := open(t, abm.Config{})
	serials := p.addNew(p.server.ID, 1)
	a := p.api(false)
	for path, want := range map[string]string{
		"/v1/orgDevices?limit=0": "PARAMETER_ERROR.INVALID", "/v1/orgDevices?limit=1001": "PARAMETER_ERROR.INVALID",
		"/v1/orgDevices?limit=x": "PARAMETER_ERROR.INVALID", "/v1/mdmServers?cursor=x": "PARAMETER_ERROR.INVALID",
	} {
		requireAPIError(t, a.get(path, &many{}), 400, want)
	}
	for path, want := range map[string]string{
		"/v1/orgDevices/NOBODY": "NOT_FOUND", "/v1/mdmServers/NONE": "NOT_FOUND", "/v1/mdmServers/NONE/relationships/devices": "NOT_FOUND",
		"/v1/orgDeviceActivities/none": "NOT_FOUND", "/v1/nothing": "PATH_ERROR",
	} {
		requireAPIError(t, a.get(path, &one{}), 404, want)
	}
	for _, c := range []struct {
		kind, server string
		serials      []string
		status       int
		code         string
	}{
		{"EAT_DEVICES", p.server.ID, serials, 400, "ENTITY_INVALID"},
		{abm.ActivityAssign, "", serials, 400, "ENTITY_INVALID"},
		{abm.ActivityRelease, p.server.ID, serials, 400, "ENTITY_INVALID"},
		{abm.ActivityAssign, p.server.ID, nil, 400, "ENTITY_INVALID"},
		{abm.ActivityAssign, p.server.ID, slices.Repeat(serials, 1001), 400, "ENTITY_INVALID"},
		{abm.ActivityAssign, "NONE", serials, 422, "ENTITY_UNPROCESSABLE"},
	} {
		_, err := a.act(c.kind, c.server, c.serials...)
		requireAPIError(t, err, c.status, c.code)
	}
	_, err := p.api(true).act(abm.ActivityRelease, "", serials...)
	requireAPIError(t, err, 403, "FORBIDDEN_ERROR")

	p.SignTerms(false)
	requireAPIError(t, a.get("/v1/orgDevices", &many{}), 403, "FORBIDDEN")
	p.SignTerms(true)
	require.NoError(t, a.get("/v1/orgDevices", &many{}))
	status, _ := p.raw("GET", "/v1/orgDevices", map[string]string{"Accept": "text/html"}, "")
	require.Equal(t, http.StatusNotAcceptable, status)
	status, body := p.raw("GET", "/v1/orgDevices", nil, "")
	require.Equal(t, http.StatusUnauthorized, status)
	require.Contains(t, body, "NOT_AUTHORIZED")
}

func TestBusinessThrottling(t *testing.T) {
	p := open(t, abm.Config{})
	a := p.api(true)
	require.NoError(t, a.get("/v1/mdmServers", &many{}))
	p.SetFaults(abm.Fault{Kind: abm.FaultTooMany, Share: 1, Times: 1, Path: "/v1/", Seconds: 30})
	requireAPIError(t, a.get("/v1/mdmServers", &many{}), 429, "RATE_LIMIT_EXCEEDED")
	require.Equal(t, "30", a.retry)
	_, err := p.link(p.server.ID, 10).FetchDevices(t.Context(), name)
	require.NoError(t, err, "the other API has a limit of its own")
	p.Jump(31 * time.Second)
	require.NoError(t, a.get("/v1/mdmServers", &many{}))
	p.SetFaults(abm.Fault{Kind: abm.FaultError, Share: 1, Times: 1})
	var refused *axmclient.HTTPError
	require.ErrorAs(t, a.get("/v1/mdmServers", &many{}), &refused)
	require.Equal(t, 503, refused.StatusCode)
	require.Contains(t, string(refused.Body), "SERVICE_UNAVAILABLE")
}
