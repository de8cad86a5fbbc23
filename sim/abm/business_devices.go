package abm

import (
	"maps"
	"strings"
)

func (q *inquiry) listDevices() (document, *apiError) {
	after, limit, no := q.pageOf("orgDevices")
	if no != nil {
		return nil, no
	}
	end := min(int(after)+limit, len(q.order))
	data := make([]document, 0, limit)
	for _, d := range q.order[min(int(after), end):end] {
		data = append(data, q.deviceResource(d))
	}
	next := int64(end)
	if end == len(q.order) {
		next = -1
	}
	return q.paged(document{"data": data}, "orgDevices", next, limit), nil
}

func (q *inquiry) deviceResource(d *device) document {
	self := q.origin + "/v1/orgDevices/" + d.Serial
	status := "UNASSIGNED"
	if d.ServerID != "" {
		status = "ASSIGNED"
	}
	attributes := document{
		"serialNumber": d.Serial, "status": status,
		"addedToOrgDateTime": milliseconds(d.Added), "updatedDateTime": milliseconds(d.Updated),
		"releasedFromOrgDateTime": milliseconds(d.Released),
		"deviceModel":             d.Model, "productFamily": d.Family, "productType": d.ProductType,
		"deviceCapacity": d.Capacity, "color": d.Color, "partNumber": d.PartNumber,
		"orderNumber": d.OrderNumber, "orderDateTime": milliseconds(d.Added),
		"purchaseSourceType": "APPLE", "purchaseSourceId": "000000",
	}
	maps.Copy(attributes, q.radios(d))
	return document{
		"type": "orgDevices", "id": d.Serial,
		"attributes": q.only("orgDevices", attributes),
		"relationships": document{"assignedServer": document{"links": document{
			"self": self + "/relationships/assignedServer", "related": self + "/assignedServer",
		}}},
		"links": document{"self": self},
	}
}

// radios are the numbers of what the device radios and is wired with. Some are lists, as a device may have several.
func (q *inquiry) radios(d *device) document {
	digits := func(kind string, n int) string {
		return strings.Map(func(r rune) rune { return '0' + r%10 }, q.chance.hex(kind, d.Serial))[:n]
	}
	numbers := document{"wifiMacAddress": q.chance.hex("wifi", d.Serial)[:12], "bluetoothMacAddress": q.chance.hex("bluetooth", d.Serial)[:12]}
	switch d.Family {
	case "iPhone":
		numbers["imei"] = []string{digits("imei", 15), digits("imei2", 15)}
		numbers["meid"] = []string{digits("meid", 14)}
		numbers["eid"] = digits("eid", 32)
	case "Mac", "AppleTV":
		numbers["ethernetMacAddress"] = []string{q.chance.hex("ethernet", d.Serial)[:12]}
	}
	return numbers
}

func (q *inquiry) device() (*device, *apiError) {
	id := q.request.PathValue("id")
	d := q.devices[strings.ToUpper(id)]
	if d == nil {
		return nil, notFound("orgDevices", id)
	}
	return d, nil
}

func (q *inquiry) getDevice() (document, *apiError) {
	d, no := q.device()
	if no != nil {
		return nil, no
	}
	return document{"data": q.deviceResource(d), "links": document{"self": q.origin + q.request.URL.RequestURI()}}, nil
}

// serverOf is the server of the device in the path; a device without one has no such resource.
func (q *inquiry) serverOf() (*server, *apiError) {
	d, no := q.device()
	if no != nil {
		return nil, no
	}
	s := q.servers[d.ServerID]
	if s == nil {
		return nil, notFound("mdmServers", "assignedServer of "+d.Serial)
	}
	return s, nil
}

func (q *inquiry) assignedServer() (document, *apiError) {
	s, no := q.serverOf()
	if no != nil {
		return nil, no
	}
	return document{"data": q.serverResource(s), "links": document{"self": q.origin + q.request.URL.RequestURI()}}, nil
}

func (q *inquiry) assignedServerLink() (document, *apiError) {
	s, no := q.serverOf()
	if no != nil {
		return nil, no
	}
	self := q.origin + q.request.URL.Path
	return document{
		"data":  document{"type": "mdmServers", "id": s.ID},
		"links": document{"self": self, "related": strings.Replace(self, "/relationships/", "/", 1)},
	}, nil
}

func (q *inquiry) listServers() (document, *apiError) {
	after, limit, no := q.pageOf("mdmServers")
	if no != nil {
		return nil, no
	}
	end := min(int(after)+limit, len(q.ranking))
	data := make([]document, 0, limit)
	for _, s := range q.ranking[min(int(after), end):end] {
		data = append(data, q.serverResource(s))
	}
	next := int64(end)
	if end == len(q.ranking) {
		next = -1
	}
	return q.paged(document{"data": data}, "mdmServers", next, limit), nil
}

func (q *inquiry) serverResource(s *server) document {
	return document{
		"type": "mdmServers", "id": s.ID,
		"attributes": q.only("mdmServers", document{
			"serverName": s.Name, "serverType": s.Type,
			"createdDateTime": milliseconds(s.Created), "updatedDateTime": milliseconds(s.Updated),
		}),
		"relationships": document{"devices": document{"links": document{
			"self": q.origin + "/v1/mdmServers/" + s.ID + "/relationships/devices",
		}}},
	}
}

func (q *inquiry) pathServer() (*server, *apiError) {
	id := q.request.PathValue("id")
	s := q.servers[id]
	if s == nil {
		return nil, notFound("mdmServers", id)
	}
	return s, nil
}

func (q *inquiry) getServer() (document, *apiError) {
	s, no := q.pathServer()
	if no != nil {
		return nil, no
	}
	return document{"data": q.serverResource(s), "links": document{"self": q.origin + q.request.URL.RequestURI()}}, nil
}

func (q *inquiry) serverDevices() (document, *apiError) {
	s, no := q.pathServer()
	if no != nil {
		return nil, no
	}
	after, limit, no := q.pageOf("devices of " + s.ID)
	if no != nil {
		return nil, no
	}
	devices, more := s.page(after, q.seq, limit)
	data := make([]document, len(devices))
	next := int64(-1)
	for i, d := range devices {
		data[i] = document{"type": "orgDevices", "id": d.Serial}
		if more {
			next = d.Seq
		}
	}
	return q.paged(document{"data": data}, "devices of "+s.ID, next, limit), nil
}
