package abm

import (
	"slices"
	"strconv"
	"strings"
)

// Spec says what a device is. Only Serial matters; what is empty is filled from a small catalogue of Apple's products,
// the same for the same seed and serial.
type Spec struct {
	Serial      string `json:"serial"`
	Family      string `json:"family,omitempty"` // iPhone, iPad, Mac, AppleTV or Vision
	OS          string `json:"os,omitempty"`     // iOS, iPadOS, OSX, tvOS or visionOS
	Model       string `json:"model,omitempty"`
	ProductType string `json:"product_type,omitempty"`
	Capacity    string `json:"capacity,omitempty"`
	Color       string `json:"color,omitempty"`
	Description string `json:"description,omitempty"`
	AssetTag    string `json:"asset_tag,omitempty"`
	OrderNumber string `json:"order_number,omitempty"`
	PartNumber  string `json:"part_number,omitempty"`
}

var catalog = []Spec{
	{Family: "iPhone", OS: "iOS", Model: "iPhone 15", ProductType: "iPhone15,4", Capacity: "128GB", Color: "BLACK", PartNumber: "MTLJ3LL/A"},
	{Family: "iPad", OS: "iPadOS", Model: "iPad (10th generation)", ProductType: "iPad13,18", Capacity: "64GB", Color: "SILVER", PartNumber: "MPQ03LL/A"},
	{Family: "Mac", OS: "OSX", Model: `MacBook Air 13"`, ProductType: "Mac14,2", Capacity: "256GB", Color: "MIDNIGHT", PartNumber: "MLY33LL/A"},
	{Family: "iPhone", OS: "iOS", Model: "iPhone SE (3rd generation)", ProductType: "iPhone14,6", Capacity: "64GB", Color: "RED", PartNumber: "MMX73LL/A"},
	{Family: "AppleTV", OS: "tvOS", Model: "Apple TV 4K", ProductType: "AppleTV14,1", Capacity: "64GB", Color: "BLACK", PartNumber: "MN873LL/A"},
	{Family: "Vision", OS: "visionOS", Model: "Apple Vision Pro", ProductType: "RealityDevice14,1", Capacity: "256GB", Color: "SILVER", PartNumber: "MQL83LL/A"},
}

func (s Spec) filled(c chance) Spec {
	s.Serial = strings.ToUpper(strings.TrimSpace(s.Serial))
	choice := catalog
	if s.Family != "" {
		choice = slices.DeleteFunc(slices.Clone(catalog), func(p Spec) bool { return p.Family != s.Family })
	}
	if len(choice) == 0 {
		choice = []Spec{{Model: s.Family}}
	}
	like := choice[int(c.of("model", s.Serial)*float64(len(choice)))]
	fill := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	fill(&s.Family, like.Family)
	fill(&s.OS, like.OS)
	fill(&s.Model, like.Model)
	fill(&s.ProductType, like.ProductType)
	fill(&s.Capacity, like.Capacity)
	fill(&s.Color, like.Color)
	fill(&s.PartNumber, like.PartNumber)
	fill(&s.OrderNumber, strconv.Itoa(1_000_000_000+int(c.of("order", s.Serial)*9e8)))
	fill(&s.Description, strings.ToUpper(s.Model+" "+s.Color+" "+s.Capacity+"-USA"))
	return s
}

// serialLetters leave out what is easily misread, as Apple does.
const serialLetters = "0123456789CDFGHJKLMNPQRTVWXY"

func (c chance) serial(n int) string {
	b := c.bytes("serial", strconv.Itoa(n))
	out := make([]byte, 10)
	for i := range out {
		out[i] = serialLetters[int(b[i])%len(serialLetters)]
	}
	return string(out)
}
