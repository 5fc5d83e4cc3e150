package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
)

// The headers of a signature. An answer has those of Time and Signature.
const (
	HeaderTime      = "Tenon-Time"      // seconds since 1970
	HeaderNonce     = "Tenon-Nonce"     // of a request, never the same twice
	HeaderSignature = "Tenon-Signature" // "v1=" and 64 hexadecimal digits
)

// Window is how far the clocks of agent and master may be apart. What is older than that is
// refused, so a receiver has to remember the requests of that time only.
const Window = 5 * time.Minute

// Sign adds to the header of a request what proves that its body, as it is sent, comes from
// somebody who knows the secret: HMAC-SHA256 over "request", the time, the nonce, each with a
// line feed, and the body.
func Sign(h http.Header, secret []byte, now time.Time, nonce string, body []byte) {
	h.Set(HeaderNonce, nonce)
	sign(h, "request", secret, now, nonce, body)
}

// SignAnswer does the same for an answer, with the word "answer" and the nonce of the request
// that it answers.
func SignAnswer(h http.Header, secret []byte, now time.Time, nonce string, body []byte) {
	sign(h, "answer", secret, now, nonce, body)
}

// Verify checks what Sign made. Whether the request came before is not its business.
func Verify(h http.Header, secret []byte, now time.Time, body []byte) error {
	return verify(h, "request", secret, now, h.Get(HeaderNonce), body)
}

// VerifyAnswer checks what SignAnswer made.
func VerifyAnswer(h http.Header, secret []byte, now time.Time, nonce string, body []byte) error {
	return verify(h, "answer", secret, now, nonce, body)
}

func sign(h http.Header, word string, secret []byte, now time.Time, nonce string, body []byte) {
	at := strconv.FormatInt(now.Unix(), 10)
	h.Set(HeaderTime, at)
	h.Set(HeaderSignature, "v1="+hex.EncodeToString(mac(word, secret, at, nonce, body)))
}

func verify(h http.Header, word string, secret []byte, now time.Time, nonce string, body []byte) error {
	at := h.Get(HeaderTime)
	seconds, err := strconv.ParseInt(at, 10, 64)
	if err != nil {
		return errors.New("it has no time of signature")
	}
	want := "v1=" + hex.EncodeToString(mac(word, secret, at, nonce, body))
	if !hmac.Equal([]byte(want), []byte(h.Get(HeaderSignature))) {
		return errors.New("the signature is wrong or missing")
	}
	if d := now.Sub(time.Unix(seconds, 0)).Abs(); d > Window {
		return fmt.Errorf("it was signed %v before or after the clock of this host; %v is allowed", d.Round(time.Second), Window)
	}
	return nil
}

func mac(word string, secret []byte, at, nonce string, body []byte) []byte {
	m := hmac.New(sha256.New, secret)
	fmt.Fprintf(m, "%s\n%s\n%s\n", word, at, nonce)
	m.Write(body)
	return m.Sum(nil)
}
