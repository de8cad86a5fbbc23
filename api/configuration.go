package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"

	"github.com/muster-mdm/muster/store"
)

// ListConfigurations answers GET /v1/configurations.
func (r *rest) ListConfigurations(ctx context.Context, q ListConfigurationsRequestObject) (ListConfigurationsResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "configurations", 1)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.Configurations(ctx, store.Page{After: after[0], Limit: limit + 1})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "configurations", func(c store.Configuration) []string { return []string{c.Name} })
	return ListConfigurations200JSONResponse{Configurations: each(list, renderConfiguration), NextCursor: next}, nil
}

// GetConfiguration answers GET /v1/configurations/{name}.
func (r *rest) GetConfiguration(ctx context.Context, q GetConfigurationRequestObject) (GetConfigurationResponseObject, error) {
	c, err := r.DB.Configuration(ctx, q.Name)
	return GetConfiguration200JSONResponse{configurationAnswer(c)}, err
}

// GetConfigurationContent answers GET /v1/configurations/{name}/content.
func (r *rest) GetConfigurationContent(ctx context.Context, q GetConfigurationContentRequestObject) (GetConfigurationContentResponseObject, error) {
	content, err := r.DB.ConfigurationContent(ctx, q.Name)
	if err != nil {
		return nil, err
	}
	disposition := "attachment; filename*=UTF-8''" + url.PathEscape(q.Name) + ".mobileconfig"
	return GetConfigurationContent200ApplicationxAppleAspenConfigResponse{
		Body: bytes.NewReader(content), ContentLength: int64(len(content)),
		Headers: GetConfigurationContent200ResponseHeaders{ContentDisposition: &disposition},
	}, nil
}

// PutConfiguration answers PUT /v1/configurations/{name}.
func (r *rest) PutConfiguration(ctx context.Context, q PutConfigurationRequestObject) (PutConfigurationResponseObject, error) {
	how, err := editOf(editParams{q.Params.IfMatch, q.Params.IfNoneMatch != nil, q.Params.DryRun, nil})
	if err != nil {
		return nil, err
	}
	payload, err := io.ReadAll(q.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the configuration: %w", readFault(err))
	}
	upload := store.ConfigurationUpload{Name: q.Name, Description: q.Params.Description, Payload: payload}
	c, created, err := r.Intake.PutConfiguration(ctx, actorOf(ctx), upload, how)
	if err != nil {
		return nil, err
	}
	if created {
		return PutConfiguration201JSONResponse{
			Body: renderConfiguration(c), Headers: PutConfiguration201ResponseHeaders{ETag: etag(c.Version)},
		}, nil
	}
	return PutConfiguration200JSONResponse{configurationAnswer(c)}, nil
}

// DeleteConfiguration answers DELETE /v1/configurations/{name}.
func (r *rest) DeleteConfiguration(ctx context.Context, q DeleteConfigurationRequestObject) (DeleteConfigurationResponseObject, error) {
	condition, err := conditionOf(q.Params.IfMatch, false)
	if err != nil {
		return nil, err
	}
	return DeleteConfiguration204Response{}, r.Intake.DeleteConfiguration(ctx, q.Name, condition)
}

func renderConfiguration(c store.Configuration) Configuration {
	return Configuration{
		Name: c.Name, Description: c.Description, Identifier: c.Identifier, Content: c.Content, Version: c.Version,
		CreatedAt: c.CreatedAt, UpdatedAt: c.UpdatedAt,
	}
}

func configurationAnswer(c store.Configuration) ConfigurationJSONResponse {
	return ConfigurationJSONResponse{Body: renderConfiguration(c), Headers: ConfigurationResponseHeaders{ETag: etag(c.Version)}}
}
