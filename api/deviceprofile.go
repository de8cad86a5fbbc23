package api

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/muster-mdm/muster/store"
)

// ListDeviceProfiles answers GET /v1/device-profiles.
func (r *rest) ListDeviceProfiles(ctx context.Context, q ListDeviceProfilesRequestObject) (ListDeviceProfilesResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "device-profiles", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.DeviceProfiles(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "device-profiles", func(p store.DeviceProfile) []string { return []string{p.Name} })
	out := ListDeviceProfiles200JSONResponse{DeviceProfiles: make([]DeviceProfile, len(list)), NextCursor: next}
	for i, p := range list {
		if out.DeviceProfiles[i], err = renderProfile(p); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// GetDeviceProfile answers GET /v1/device-profiles/{name}.
func (r *rest) GetDeviceProfile(ctx context.Context, q GetDeviceProfileRequestObject) (GetDeviceProfileResponseObject, error) {
	p, err := r.DB.DeviceProfile(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	shown, err := renderProfile(p)
	return GetDeviceProfile200JSONResponse{DeviceProfileJSONResponse{Body: shown, Headers: DeviceProfileResponseHeaders{ETag: etag(p.Version)}}}, err
}

// PutDeviceProfile answers PUT /v1/device-profiles/{name}.
func (r *rest) PutDeviceProfile(ctx context.Context, q PutDeviceProfileRequestObject) (PutDeviceProfileResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, nil})
	if err != nil {
		return nil, err
	}
	fields, err := json.Marshal(q.Body.Fields)
	if err != nil {
		return nil, fmt.Errorf("writing the fields of a device profile: %w", err)
	}
	p := store.DeviceProfile{
		Name: q.Name, Description: value(q.Body.Description), ActivationMode: string(value(q.Body.ActivationMode)), Fields: fields,
	}
	p, created, err := r.Intake.PutDeviceProfile(ctx, p, how)
	if err != nil {
		return nil, err
	}
	shown, err := renderProfile(p)
	if created {
		return PutDeviceProfile201JSONResponse{Body: shown, Headers: PutDeviceProfile201ResponseHeaders{ETag: etag(p.Version)}}, err
	}
	return PutDeviceProfile200JSONResponse{DeviceProfileJSONResponse{Body: shown, Headers: DeviceProfileResponseHeaders{ETag: etag(p.Version)}}}, err
}

// DeleteDeviceProfile answers DELETE /v1/device-profiles/{name}.
func (r *rest) DeleteDeviceProfile(ctx context.Context, q DeleteDeviceProfileRequestObject) (DeleteDeviceProfileResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteDeviceProfile204Response{}, r.Intake.DeleteDeviceProfile(ctx, q.Name, condition)
}

func renderProfile(p store.DeviceProfile) (DeviceProfile, error) {
	out := DeviceProfile{
		Name: p.Name, Description: p.Description, ActivationMode: ActivationMode(p.ActivationMode), Content: p.Content,
		Version: p.Version, CreatedAt: p.CreatedAt, UpdatedAt: p.UpdatedAt,
	}
	if err := json.Unmarshal(p.Fields, &out.Fields); err != nil {
		return out, fmt.Errorf("reading the fields of device profile %s: %w", p.Name, err)
	}
	return out, nil
}
