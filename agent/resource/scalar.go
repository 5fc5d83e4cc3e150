package resource

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Scalar is a fixed-point amount with three decimals (spec.md 2.1); of disk, in MiB.
type Scalar int64

// One is the scalar 1.
const One Scalar = 1000

// MaxScalar is the largest amount that is accepted, of disk 4 EiB: beyond it a float64,
// which is what Mesos sends, may print as a decimal that rounds to the thousandth beside.
const MaxScalar = 1 << 42 * One

// ParseScalar reads a decimal number such as "64", "0.5" or "1e3", as it stands in
// JSON or in the text syntax. It rounds to the nearest thousandth, halves up, on the
// decimal digits themselves, so nothing drifts. Negative numbers, numbers that are not
// zero but round to it, numbers above MaxScalar and anything else ("nan", "inf",
// "0x10") are errors that match ErrInvalid.
func ParseScalar(s string) (Scalar, error) {
	digits, point, err := scanDecimal(s)
	if err != nil {
		return 0, err
	}
	milli, ok := roundMilli(digits, point)
	switch {
	case !ok:
		return 0, invalidf("number %s is above %s", shorten(s), MaxScalar)
	case milli == 0 && digits != "":
		return 0, invalidf("value <= 0: number %s rounds to zero at three decimals", shorten(s))
	}
	return milli, nil
}

// scanDecimal splits a number into its significant digits and the place of the decimal
// point: the value is 0.DIGITS × 10^point. Zero has no digits.
func scanDecimal(s string) (digits string, point int, err error) {
	if strings.HasPrefix(s, "-") {
		return "", 0, invalidf("value <= 0: number %s is negative", shorten(s))
	}
	mantissa, exponent, hasExponent := cutAny(s, "eE")
	whole, fraction, hasPoint := strings.Cut(mantissa, ".")
	if !isDigits(whole) || hasPoint && !isDigits(fraction) {
		return "", 0, invalidf("%s is not a number", shorten(s))
	}
	if hasExponent {
		if point, err = scanExponent(exponent); err != nil {
			return "", 0, invalidf("%s is not a number", shorten(s))
		}
	}
	digits = strings.TrimLeft(whole+fraction, "0")
	point += len(digits) - len(fraction)
	return strings.TrimRight(digits, "0"), point, nil
}

// scanExponent reads what follows an e, bounded: beyond the bound all that counts is
// that it is far away.
func scanExponent(s string) (int, error) {
	const far = 1 << 30
	digits := strings.TrimLeft(s, "+-")
	if !isDigits(digits) || len(s)-len(digits) > 1 {
		return 0, strconv.ErrSyntax
	}
	n, err := strconv.Atoi(digits)
	if err != nil || n > far {
		n = far
	}
	if s[0] == '-' {
		n = -n
	}
	return n, nil
}

// roundMilli turns 0.DIGITS × 10^point into thousandths; ok is false above MaxScalar.
func roundMilli(digits string, point int) (milli Scalar, ok bool) {
	const most = 16 // digits of MaxScalar in thousandths
	keep := point + 3
	if digits == "" || keep < 0 {
		return 0, true
	}
	if keep > most {
		return 0, false
	}
	for i := range keep {
		milli *= 10
		if i < len(digits) {
			milli += Scalar(digits[i] - '0')
		}
	}
	if keep < len(digits) && digits[keep] >= '5' {
		milli++
	}
	return milli, milli <= MaxScalar
}

// String is the shortest decimal that reads back as s: "64", "0.5".
func (s Scalar) String() string {
	sign, n := "", uint64(s)
	if s < 0 {
		sign, n = "-", -uint64(s)
	}
	whole := sign + strconv.FormatUint(n/uint64(One), 10)
	if n%uint64(One) == 0 {
		return whole
	}
	return whole + "." + strings.TrimRight(fmt.Sprintf("%03d", n%uint64(One)), "0")
}

// MarshalJSON writes s as a JSON number.
func (s Scalar) MarshalJSON() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalJSON reads a JSON number as ParseScalar does.
func (s *Scalar) UnmarshalJSON(data []byte) (err error) {
	*s, err = ParseScalar(string(data))
	return err
}

// Add returns s + t. ok is false, and the sum void, when it is above MaxScalar.
func (s Scalar) Add(t Scalar) (sum Scalar, ok bool) {
	if t > 0 && s > math.MaxInt64-t {
		return 0, false
	}
	return s + t, s+t <= MaxScalar
}

// Sub returns s − t. ok is false, and the difference void, when t is above s: an
// amount is never negative.
func (s Scalar) Sub(t Scalar) (difference Scalar, ok bool) {
	if t > s {
		return 0, false
	}
	return s - t, true
}

func isDigits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}

// cutAny is strings.Cut at the first of several characters.
func cutAny(s, chars string) (before, after string, found bool) {
	i := strings.IndexAny(s, chars)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+1:], true
}

// shorten quotes what somebody sent, for an error message of bounded length.
func shorten(s string) string {
	const most = 64
	if len(s) > most {
		return strconv.Quote(s[:most]) + "…"
	}
	return strconv.Quote(s)
}
