package upstream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
)

// Object is a JSON object whose members keep their order.
type Object []Member

// Member is one name and value of an [Object].
type Member struct {
	Name  string
	Value any
}

// Set appends a member.
func (o *Object) Set(name string, value any) { *o = append(*o, Member{name, value}) }

// MarshalJSON writes the members in order.
func (o Object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(m.Name)
		if err != nil {
			return nil, err
		}
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, fmt.Errorf("member %s: %w", m.Name, err)
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// JSON is a reply with a JSON body. A value that has no JSON form is a mistake of this program and becomes a 500 that
// says so.
func JSON(status int, value any) Reply {
	body, err := json.Marshal(value)
	if err != nil {
		return Reply{Status: 500, Type: TypeText, Body: []byte("marketsim cannot encode its answer: " + err.Error())}
	}
	return Reply{Status: status, Type: TypeJSON, Body: body}
}

// Float is a number written with a fraction even when it has none, such as 21000000.0.
type Float float64

// MarshalJSON writes the number in plain decimal.
func (f Float) MarshalJSON() ([]byte, error) {
	b := strconv.AppendFloat(nil, float64(f), 'f', -1, 64)
	if float64(f) == math.Trunc(float64(f)) {
		b = append(b, ".0"...)
	}
	return b, nil
}

// Scientific is a number written with an exponent from 1e15 on, such as 1.5e+15.
type Scientific float64

// MarshalJSON writes the number.
func (f Scientific) MarshalJSON() ([]byte, error) {
	if f >= 1e15 {
		return strconv.AppendFloat(nil, float64(f), 'e', -1, 64), nil
	}
	return json.Marshal(float64(f))
}
