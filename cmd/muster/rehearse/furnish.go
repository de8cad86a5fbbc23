package rehearse

import (
	"bytes"
	"context"
	"strings"

	"github.com/muster-mdm/muster/api/client"
)

// Furnish gives Muster the configurations, apps, documents, groups and people of the rehearsed organisation.
func (c *Customer) Furnish(ctx context.Context) error { return c.furnish(ctx, rehearsalCatalog()) }

// furnish puts things in the order in which they need each other.
func (c *Customer) furnish(ctx context.Context, all catalog) error {
	for _, t := range all.things() {
		if err := c.putThing(ctx, t); err != nil {
			return err
		}
	}
	for _, g := range all.groups {
		if err := c.putGroup(ctx, g); err != nil {
			return err
		}
	}
	for _, p := range all.people {
		_, err := do(ctx, c, "making "+p.name+" known", func(ctx context.Context, key *string) (*client.CreatePersonResponse, error) {
			return c.api.CreatePersonWithResponse(ctx, &client.CreatePersonParams{IdempotencyKey: key},
				client.PersonInput{Name: p.name, Email: p.email, Technician: &p.technician})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Customer) putThing(ctx context.Context, t thing) error {
	if t.kind == configuration {
		_, err := do(ctx, c, "uploading "+t.name, func(ctx context.Context, key *string) (*client.PutConfigurationResponse, error) {
			return c.api.PutConfigurationWithBodyWithResponse(ctx, t.name, &client.PutConfigurationParams{IdempotencyKey: key},
				"application/x-apple-aspen-config", strings.NewReader(t.content()))
		})
		return err
	}
	if t.kind == document {
		_, err := do(ctx, c, "uploading "+t.name, func(ctx context.Context, _ *string) (*client.PutDocumentContentResponse, error) {
			return c.api.PutDocumentContentWithBodyWithResponse(ctx, t.name, nil, "application/octet-stream", bytes.NewReader(documentFile(t.name)))
		})
		return err
	}
	input := client.AppInput{BundleId: t.identifier}
	if t.storeID > 0 {
		input.StoreId = &t.storeID
	} else {
		manifest := t.manifestURL()
		input.ManifestUrl = &manifest
	}
	_, err := do(ctx, c, "putting the app "+t.name, func(ctx context.Context, key *string) (*client.PutAppResponse, error) {
		return c.api.PutAppWithResponse(ctx, t.name, &client.PutAppParams{IdempotencyKey: key}, input)
	})
	return err
}

func (c *Customer) putGroup(ctx context.Context, g group) error {
	input := client.GroupInput{Items: []client.GroupItem{}}
	for _, m := range g.members {
		stage := client.Stage(m.stage)
		item := client.GroupItem{Kind: client.ItemKind(m.kind), Name: m.name, Stage: &stage}
		depends := []client.ItemRef{}
		for _, name := range m.after {
			depends = append(depends, client.ItemRef{Kind: client.ItemKind(g.kindOf(name)), Name: name})
		}
		if len(depends) > 0 {
			item.DependsOn = &depends
		}
		input.Items = append(input.Items, item)
	}
	_, err := do(ctx, c, "putting the group "+g.name, func(ctx context.Context, key *string) (*client.PutGroupResponse, error) {
		return c.api.PutGroupWithResponse(ctx, g.name, &client.PutGroupParams{IdempotencyKey: key}, input)
	})
	return err
}

func (g group) kindOf(name string) string {
	for _, m := range g.members {
		if m.name == name {
			return m.kind
		}
	}
	return ""
}
