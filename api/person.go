package api

import (
	"context"

	"github.com/muster-mdm/muster/provision"
	"github.com/muster-mdm/muster/store"
)

// ListPeople answers GET /v1/people.
func (r *rest) ListPeople(ctx context.Context, q ListPeopleRequestObject) (ListPeopleResponseObject, error) {
	after, err := parseCursor(q.Params.Cursor, "people", 2)
	if err != nil {
		return nil, err
	}
	limit := limitOf(q.Params.Limit)
	list, err := r.DB.People(ctx, store.PeopleFilter{
		Query: value(q.Params.Q), Technician: q.Params.Technician, AfterName: after[0], AfterID: after[1], Limit: limit + 1,
	})
	if err != nil {
		return nil, err
	}
	list, next := page(list, limit, "people", func(p provision.Person) []string { return []string{p.Name, p.ID} })
	return ListPeople200JSONResponse{People: each(list, renderPerson), NextCursor: next}, nil
}

// GetPerson answers GET /v1/people/{id}.
func (r *rest) GetPerson(ctx context.Context, q GetPersonRequestObject) (GetPersonResponseObject, error) {
	p, err := r.DB.Person(ctx, q.Id)
	return GetPerson200JSONResponse{PersonJSONResponse(renderPerson(p))}, err
}

// CreatePerson answers POST /v1/people.
func (r *rest) CreatePerson(ctx context.Context, q CreatePersonRequestObject) (CreatePersonResponseObject, error) {
	p, err := r.Intake.CreatePerson(ctx, personOf("", *q.Body))
	if err != nil {
		return nil, err
	}
	at := "/v1/people/" + p.ID
	return CreatePerson201JSONResponse{Body: renderPerson(p), Headers: CreatePerson201ResponseHeaders{Location: &at}}, nil
}

// PutPerson answers PUT /v1/people/{id}.
func (r *rest) PutPerson(ctx context.Context, q PutPersonRequestObject) (PutPersonResponseObject, error) {
	p, err := r.Intake.PutPerson(ctx, personOf(q.Id, *q.Body))
	return PutPerson200JSONResponse{PersonJSONResponse(renderPerson(p))}, err
}

func personOf(id string, in PersonInput) provision.Person {
	return provision.Person{ID: id, Name: in.Name, Domain: value(in.Domain), Email: in.Email, Technician: value(in.Technician)}
}

func renderPerson(p provision.Person) Person {
	return Person{Id: p.ID, Name: p.Name, Domain: p.Domain, Email: p.Email, Technician: p.Technician}
}

// ImportPeople answers POST /v1/people:import.
func (r *rest) ImportPeople(ctx context.Context, q ImportPeopleRequestObject) (ImportPeopleResponseObject, error) {
	n, err := r.Intake.ImportPeople(ctx, interruptible{q.Body})
	return ImportPeople200JSONResponse{People: n}, err
}
