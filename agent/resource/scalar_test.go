package resource

import (
	"encoding/json"
	"errors"
	"math/big"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestParseScalarRoundsTheDecimalDigits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Scalar{
		"0": 0, "0.0": 0, "0e9999999999": 0, "64": 64000, "064": 64000, "0.5": 500, "1e3": One * 1000, "1.5E+1": 15000,
		"25e-1": 2500, "1.5011": 1501, "1.5015": 1502, "1.50149999999999999999": 1501, "0.0005": 1, "0.9995": 1000,
		"0.001": 1, "99.9995": 100000, "4398046511104": MaxScalar, "0000000000000000000000000001": One,
		"0.000000000000000000000000000001e30": One, "100000000000000000000e-20": One,
	} {
		if got, err := ParseScalar(text); err != nil || got != want {
			t.Errorf("ParseScalar(%q) = %d thousandths, %v; want %d", text, int64(got), err, int64(want))
		}
	}
}

func TestParseScalarRefusesWhatIsNoAmount(t *testing.T) {
	t.Parallel()
	for text, fragment := range map[string]string{
		"": "not a number", "nan": "not a number", "NaN": "not a number", "inf": "not a number", "0x10": "not a number",
		"1.": "not a number", ".5": "not a number", "1e": "not a number", "1e+-3": "not a number", "+1": "not a number",
		"1 000": "not a number", "1_000": "not a number", `"64"`: "not a number", "1.5.1": "not a number", "１": "not a number",
		"-1": "value <= 0", "-0.0001": "value <= 0", "-inf": "value <= 0",
		"0.0004": "value <= 0", "0.00049999": "value <= 0", "5e-324": "value <= 0", "1e-999999999999999999999": "value <= 0",
		"4398046511104.001": "above 4398046511104", "4398046511104.0005": "above", "9007199254740.992": "above", "1e13": "above", "1e999999999999999999999": "above",
		strings.Repeat("9", 500): "above",
	} {
		got, err := ParseScalar(text)
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), fragment) {
			t.Errorf("ParseScalar(%q) = %s, %v; want an error with %q", text, got, err, fragment)
		}
	}
}

func TestErrorsAboutLongInputStayShort(t *testing.T) {
	t.Parallel()
	_, err := ParseScalar(strings.Repeat("x", 1<<20))
	if err == nil || len(err.Error()) > 200 {
		t.Errorf("error of %d bytes, want a short one", len(err.Error()))
	}
}

// The oracle rounds the exact decimal with big integers.
func TestParseScalarAgreesWithExactArithmetic(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[0-9]{1,12}(\.[0-9]{1,8})?(e-?[0-9])?`).Draw(t, "number")
		exact, ok := new(big.Rat).SetString(text)
		if !ok {
			t.Fatalf("big.Rat refuses %q", text)
		}
		doubled := new(big.Rat).Mul(exact, big.NewRat(2000, 1))
		milli := new(big.Int).Quo(doubled.Num(), doubled.Denom())
		milli.Add(milli, big.NewInt(1)).Rsh(milli, 1) // half up: ⌊(⌊2x⌋ + 1) / 2⌋
		refuse := milli.Cmp(big.NewInt(int64(MaxScalar))) > 0 || milli.Sign() == 0 && exact.Sign() != 0
		got, err := ParseScalar(text)
		if refuse != (err != nil) || !refuse && int64(got) != milli.Int64() {
			t.Fatalf("ParseScalar(%q) = %d, %v; exactly it is %s", text, int64(got), err, milli)
		}
	})
}

func TestScalarsPrintShortestAndReadBack(t *testing.T) {
	t.Parallel()
	for s, want := range map[Scalar]string{0: "0", 1: "0.001", 500: "0.5", 64000: "64", 1500: "1.5", -1500: "-1.5", -1: "-0.001", 10: "0.01",
		MaxScalar: "4398046511104", -1 << 63: "-9223372036854775.808"} {
		if got := s.String(); got != want {
			t.Errorf("Scalar(%d).String() = %q, want %q", int64(s), got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		s := Scalar(rapid.Int64Range(0, int64(MaxScalar)).Draw(t, "scalar"))
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var back Scalar
		if err := json.Unmarshal(data, &back); err != nil || back != s {
			t.Fatalf("%d wrote %s, which reads as %d, %v", int64(s), data, int64(back), err)
		}
	})
}

// A double as Mesos prints it names the same thousandth.
func TestScalarsSurviveMesosDoubles(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := Scalar(rapid.Int64Range(0, int64(MaxScalar)).Draw(t, "scalar"))
		double, err := strconv.ParseFloat(s.String(), 64)
		if err != nil {
			t.Fatal(err)
		}
		back, err := ParseScalar(strconv.FormatFloat(double, 'g', 17, 64))
		if err != nil || back != s {
			t.Fatalf("%s became %s, %v", s, back, err)
		}
	})
}

func TestLongChainsOfSmallStepsReturnToTheStart(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"0.1", "0.001", "0.333"} {
		delta, err := ParseScalar(step)
		if err != nil {
			t.Fatal(err)
		}
		value, ok := 4*One, true
		for range 5000 {
			value, ok = value.Add(delta)
			if !ok {
				t.Fatal("sum overflows")
			}
		}
		for range 5000 {
			value, ok = value.Sub(delta)
			if !ok {
				t.Fatal("difference is negative")
			}
		}
		if value != 4*One {
			t.Errorf("5000 steps of %s up and down end at %s, want 4", step, value)
		}
	}
}

func TestAddAndSubReportWhatCannotBe(t *testing.T) {
	t.Parallel()
	if sum, ok := (MaxScalar - 1).Add(1); !ok || sum != MaxScalar {
		t.Errorf("MaxScalar-1 + 1 = %d, %t; want MaxScalar", int64(sum), ok)
	}
	if _, ok := MaxScalar.Add(1); ok {
		t.Error("MaxScalar + 1 is said to fit")
	}
	if _, ok := Scalar(1<<63 - 1).Add(1); ok {
		t.Error("the largest int64 + 1 is said to fit")
	}
	if d, ok := Scalar(5).Sub(5); !ok || d != 0 {
		t.Errorf("5 - 5 = %d, %t; want 0", int64(d), ok)
	}
	if _, ok := Scalar(5).Sub(6); ok {
		t.Error("5 - 6 is said to be an amount")
	}
}
