package bulk_test

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/muster-mdm/muster/api/bulk"
	"github.com/muster-mdm/muster/provision"
)

// Problems say in which column they are, and in words what is to be done.
func TestProblemsSpeakToPeople(t *testing.T) {
	for _, c := range []struct {
		row    string
		column string
		says   string
	}{
		{",ANDREW,,a@b.c,g", "Serial Number", "Serial Number is empty; it is mandatory."},
		{"С07Q853LG9RM,ANDREW,,a@b.c,g", "Serial Number", "with 'С' (U+0421, Cyrillic) in the place of C; type it anew."},
		{"C07Q853LG９RM,ANDREW,,a@b.c,g", "Serial Number", "with '９' (U+FF19, full-width) in the place of 9; type it anew."},
		{"C07Q853LG٣RM,ANDREW,,a@b.c,g", "Serial Number", "with '٣' (U+0663, Arabic) in the place of 3; type it anew."},
		{"C07Q-853LG9R,ANDREW,,a@b.c,g", "Serial Number", `"C07Q-853LG9R" is not a serial number: '-' is neither a letter A–Z nor a digit.`},
		{"1.2E+11,ANDREW,,a@b.c,g", "Serial Number", `Serial Number is "1.2E+11": a spreadsheet took it for a number`},
		{"c07q853lg9rm,ANDREW,,a@b.c,g", "Serial Number", "Serial Number is written c07q853lg9rm; it was read as C07Q853LG9RM."},
		{"C07Q853LG9RM,J\xfcrgen,,a@b.c,g", "User Name", `the byte 0xFC inside, which is not UTF-8; in Windows-1252 it would be "Jürgen".`},
		{"C07Q853LG9RM,A\x81B,,a@b.c,g", "User Name", "User Name has the byte 0x81 inside, which is not UTF-8. Save the file as UTF-8."},
		{"C07Q853LG9RM,JÃ¼rgen,,a@b.c,g", "User Name", `User Name is "JÃ¼rgen"; was it "Jürgen" before a program mistook its encoding?`},
		{"C07Q853LG9RM,A\x00B,,a@b.c,g", "User Name", "User Name has the control character U+0000 inside."},
		{"C07Q853LG9RM,ANDREW,,a@b.c,g\u200b", "Group Name", "An invisible character (U+200B) around Group Name was left out."},
		{"C07Q853LG9RM,AN\u00a0DREW,,a@b.c,g", "User Name", "An unusual blank (U+00A0) in User Name was read as a space."},
		{"C07Q853LG9RM,ANDREW,,andrew,g", "Email Address", `"andrew" is not an e-mail address.`},
		{"C07Q853LG9RM,ANDREW,,a@b.c,g/", "Group Name", `Group Name has a "/" with no group on one of its sides.`},
		{"C07Q853LG9RM,=A1,,a@b.c,g", "User Name", "User Name looks like a formula; it is kept as text."},
		{"C07Q853LG9RM,\"ANDREW,,a@b.c,g", "User Name", "The quote that begins in line 2 at User Name isn't closed, or not where it should be; reading went on with the next line."},
		{"C07Q853LG9RM,\"AN\"DREW,,a@b.c,g", "User Name", "Text stands behind the closing quote of User Name; double the quotes inside a value."},
		{"C07Q853LG9RM,AN\"DREW,,a@b.c,g", "User Name", "User Name has quotes inside and isn't in quotes"},
		{"C07Q853LG9RM,ANDREW,,a@b.c", "Group Name", "The row has 4 of 5 values; it ends before Group Name."},
		{"C07Q853LG9RM;ANDREW;;a@b.c;g", "User Name", `it ends before User Name, Email Address, Group Name. Its values seem to be separated by ";", and the header's are by ",".`},
		{"C07Q853LG9RM,Smith, Andrew,,a@b.c,g", "", `The row has 6 values for 5 columns; a value with "," inside must stand in quotes.`},
	} {
		row := one(t, header+c.row+"\n")
		var said []string
		for _, p := range row.Problems {
			if p.Column == c.column {
				said = append(said, p.Detail)
			}
			assert.Equal(t, 2, p.Line)
		}
		assert.Contains(t, strings.Join(said, " "), c.says, "%q", c.row)
	}
}

func TestUnclosedQuoteNamesTheLineWhereItBegins(t *testing.T) {
	row := open(t, strings.NewReader("Notes,"+header+"\"one\ntwo\",C07Q853LG9RM,\"ANDREW,,a@b.c,g\nx,"+otherRow), bulk.Assignments).rows[0]
	require.Equal(t, 2, row.Line)
	require.Equal(t, 3, row.Problems[0].Line)
	require.Equal(t, bulk.QuoteUnclosed, row.Problems[0].Code)
	require.Equal(t, []string{"one\ntwo", "C07Q853LG9RM", `"ANDREW`, "", "a@b.c", "g"}, row.Record)
}

func TestFileErrorsSpeakToPeople(t *testing.T) {
	for data, says := range map[string]string{
		"":           "The file is empty.",
		"PK\x03\x04": `The file is an Excel workbook or another zip archive, not CSV. Save it as "CSV UTF-8".`,
		"Serial Number,User Name,E-Mail,Group Name\n": `The column "Email Address" is missing; call "E-Mail" so, if it is meant.`,
		"Serial Number,User Name,Domain,Group Name\n": `The column "Email Address" is missing.`,
		header[:len(header)-1] + ",email ADDRESS\n":   `The column "Email Address" is there twice, as columns 4 and 6.`,
		goodRow:                                "The first line looks like data; put the columns' names there: Serial Number,User Name,Domain Name,Email Address,Group Name,Owned By.",
		"\"" + header[:len(header)-1] + "\"\n": "The first line stands in quotes as a whole, so it is a single value; leave out the quotes around lines.",
		"\"Serial Number,User Name\n":          "The quote that begins in line 1 at column 1 isn't closed",
	} {
		_, err := bulk.Open(strings.NewReader(data), bulk.Assignments)
		require.ErrorContains(t, err, says, "%q", data)
	}
}

func TestGroupsAreForTheCallerToKnow(t *testing.T) {
	row := one(t, header+"C07Q853LG9RM,ANDREW,,a@b.c,a/B/c\n")
	require.Equal(t, bulk.OK, row.Verdict)
	row.CheckGroups(func(name string) bool { return name == "B" })
	require.Equal(t, bulk.Fault, row.Verdict)
	require.Equal(t, `Group "a" does not exist; create it first. Group "c" does not exist; create it first.`, bulk.Details(row.Problems))
	require.Equal(t, []provision.Code{provision.GroupNotFound}, codes(row))
}

func TestDuplicates(t *testing.T) {
	a := "C07Q853LG9RM,ANDREW,,a@b.c,g\n"
	rows := check(t, []byte(header+a+otherRow+a+strings.Replace(a, "ANDREW", "ANNA", 1)+strings.Repeat(otherRow, 2)), bulk.Assignments).rows
	var said []string
	for _, row := range rows {
		said = append(said, fmt.Sprint(row.Line, " ", row.Verdict, " ", bulk.Details(row.Problems)))
	}
	require.Equal(t, []string{
		"2 error Line 5 says something else of C07Q853LG9RM; leave one of the two.",
		"3 ok ",
		"4 error Line 5 says something else of C07Q853LG9RM; leave one of the two.",
		"5 error Line 2 says something else of C07Q853LG9RM; leave one of the two.",
		"6 notice Line 3 says the same of DMPXK1ABCD01.",
		"7 notice Line 3 says the same of DMPXK1ABCD01.",
	}, said)
}

// Every value that a row says counts when two are compared.
func TestDuplicatesCompareEverything(t *testing.T) {
	head := strings.TrimSpace(header) + ",Owned By\n"
	first := "C07Q853LG9RM,ANDREW,MDM,a@b.c,g/h,Corporate\n"
	for second, want := range map[string]bulk.Verdict{
		first:                               bulk.Notice,
		"C07Q853LG9RM,andrew,,A@b.c,G/H,\n": bulk.Notice,
		"C07Q853LG9RM,ANDRE,MDM,a@b.c,g/h,Corporate\n":     bulk.Fault,
		"C07Q853LG9RM,ANDREW,ZYLKER,a@b.c,g/h,Corporate\n": bulk.Fault,
		"C07Q853LG9RM,ANDREW,MDM,b@b.c,g/h,Corporate\n":    bulk.Fault,
		"C07Q853LG9RM,ANDREW,MDM,a@b.c,g,Corporate\n":      bulk.Fault,
		"C07Q853LG9RM,ANDREW,MDM,a@b.c,h/g,Corporate\n":    bulk.Fault,
		"C07Q853LG9RM,ANDREW,MDM,a@b.c,g/h,Personal\n":     bulk.Fault,
	} {
		rows := check(t, []byte(head+first+second), bulk.Assignments).rows
		require.Equal(t, want, rows[1].Verdict, second)
	}
}

func TestResultKeepsLayoutAndColumns(t *testing.T) {
	c := check(t, []byte("\ufeffNotes;"+strings.ReplaceAll(header, ",", ";")+
		"=1+1;C07Q853LG9RM;ANDREW;;andrew@zylker.com;zylker_drivers\n"+
		"'x;DMPXK1ABCD01;\"B;ERTA\"\n"+
		"\xff;F9FXQ2ZZQ1MN;CARL;;carl@zylker.com;zylker_drivers;and;more;;\n"), bulk.Assignments)
	require.Equal(t, bulk.Layout{Delimiter: ';', BOM: true}, c.reader.Layout())
	result := string(resultOf(t, c))
	require.Equal(t, "\ufeffNotes;Serial Number;User Name;Domain Name;Email Address;Group Name;Verdict;Detail;Link\n"+
		"'=1+1;C07Q853LG9RM;ANDREW;;andrew@zylker.com;zylker_drivers;ok;;\n"+
		"'x;DMPXK1ABCD01;\"B;ERTA\";;;;error;\"The row has 3 of 6 values; it ends before Email Address, Group Name.\";\n", cut(result, 3))
	require.Contains(t, result, "\n�;F9FXQ2ZZQ1MN;CARL;;carl@zylker.com;\"zylker_drivers;and;more\";error;\"The row has 10 values")
}

func cut(text string, lines int) string {
	return strings.Join(strings.SplitAfter(text, "\n")[:lines], "")
}

func TestRowsSayTheSameInAnyLetterCase(t *testing.T) {
	say := func(a bulk.Assignment) string { return string(a.AppendSaid([]byte("x"))) }
	one := bulk.Assignment{User: provision.Person{Name: "Zoë ÅKERMAN", Domain: "MDM", Email: "Z@x.org"}, OwnedBy: "Corporate", Groups: []string{"Ärzte", "b"}}
	same := bulk.Assignment{User: provision.Person{Name: "ZOË åkerman", Domain: "mdm", Email: "z@X.org"}, OwnedBy: "corporate", Groups: []string{"ärzte", "B"}}
	require.Equal(t, say(one), say(same))
	for name, change := range map[string]func(*bulk.Assignment){
		"name":        func(a *bulk.Assignment) { a.User.Name = "Zoe ÅKERMAN" },
		"domain":      func(a *bulk.Assignment) { a.User.Domain = "" },
		"address":     func(a *bulk.Assignment) { a.User.Email = "Z@x.orgC" },
		"owner":       func(a *bulk.Assignment) { a.OwnedBy = "Personal" },
		"groups":      func(a *bulk.Assignment) { a.Groups = a.Groups[:1] },
		"group":       func(a *bulk.Assignment) { a.Groups = []string{"Ärzte", "c"} },
		"its borders": func(a *bulk.Assignment) { a.User.Name, a.User.Domain = "Zoë ÅKERMANM", "DM" },
	} {
		other := one
		change(&other)
		require.NotEqual(t, say(one), say(other), name)
	}
}

// Rows that name the same groups share them, those with something wrong in them never.
func TestGroupsAreReadAlikeWheneverTheyCome(t *testing.T) {
	const file = header + "C07Q853LG9RM,A,,a@x.org,b/c\nC07Q853LG9RN,B,,b@x.org,b//c\nC07Q853LG9RP,A,,a@x.org,b/c\nC07Q853LG9RQ,B,,b@x.org,b//c\n" +
		"C07Q853LG9RR,A,,a@x.org,b/B\nC07Q853LG9RS,A,,a@x.org,b/B\nC07Q853LG9RT,A,,a@x.org, b/c\n"
	rows := open(t, strings.NewReader(file), bulk.Assignments).rows
	require.Len(t, rows, 7)
	for _, pair := range [][2]int{{0, 2}, {1, 3}, {4, 5}} {
		require.Equal(t, rows[pair[0]].Assignment.Groups, rows[pair[1]].Assignment.Groups)
		require.Equal(t, codes(rows[pair[0]]), codes(rows[pair[1]]))
	}
	require.Equal(t, []string{"b", "c"}, rows[6].Assignment.Groups)
	require.Equal(t, []provision.Code{bulk.GroupEmpty}, codes(rows[3]))
	require.Equal(t, []provision.Code{bulk.GroupTwice}, codes(rows[5]))
	require.Equal(t, []provision.Code{bulk.BlanksTrimmed}, codes(rows[6]))
}

// Who reads into a row of their own finds nothing of the row before in it.
func TestReadLeavesNothingOfTheRowBefore(t *testing.T) {
	reader, err := bulk.Open(strings.NewReader(header+"c07q853lg9rm,A,D,a@x.org,b/B\n,,,,\n"+goodRow), bulk.Assignments)
	require.NoError(t, err)
	again, err := bulk.Open(strings.NewReader(header+"c07q853lg9rm,A,D,a@x.org,b/B\n,,,,\n"+goodRow), bulk.Assignments)
	require.NoError(t, err)
	var row bulk.Row
	for range 3 {
		want, err := again.Next()
		require.NoError(t, err)
		require.NoError(t, reader.Read(&row))
		require.Equal(t, want, row)
	}
	require.ErrorIs(t, reader.Read(&row), io.EOF)
	require.Zero(t, row)
}

// Two names that look the same are hard to tell apart for who is told that one of them doesn't exist.
func TestAGroupThatLooksLikeAnother(t *testing.T) {
	const composed, apart = "Z\u00fcrich", "Zu\u0308rich"
	row := one(t, header+"C07Q853LG9RM,ANDREW,,a@b.c,"+apart+"\n")
	row.CheckGroups(func(name string) bool { return name == composed })
	require.Equal(t, []provision.Code{provision.GroupNotFound}, bulk.Codes(row.Problems))
	require.Contains(t, row.Problems[0].Detail, "It has the mark U+0308 apart from its letter")
	row = one(t, header+"C07Q853LG9RM,ANDREW,,a@b.c,"+composed+"\n")
	row.CheckGroups(func(string) bool { return false })
	require.Equal(t, "Group \"Zürich\" does not exist; create it first.", row.Problems[0].Detail)
}
