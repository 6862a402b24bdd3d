// cpu [ROUNDS]: hashes a buffer of 1 MiB with SHA-256, ROUNDS times (default 200), and
// prints the last digest. It computes and makes hardly any host call, to show what
// recording costs a guest that does not talk to its host.
//
// Each round puts its digest at the start of the buffer, so no round can be skipped.

#include <stdio.h>
#include <string.h>

#include "number.h"

static const uint32_t round_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static const uint32_t initial_state[8] = {
    0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a, 0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19,
};

enum { BLOCK = 64, DIGEST = 32, BUFFER = 1024 * 1024 };

static uint32_t rotate_right(uint32_t word, int bits)
{
    return word >> bits | word << (32 - bits);
}

static uint32_t load_big_endian(const uint8_t *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static void store_big_endian(uint8_t *bytes, uint32_t word)
{
    bytes[0] = (uint8_t)(word >> 24);
    bytes[1] = (uint8_t)(word >> 16);
    bytes[2] = (uint8_t)(word >> 8);
    bytes[3] = (uint8_t)word;
}

// Names are FIPS 180-4's.
static void compress(uint32_t state[8], const uint8_t block[BLOCK])
{
    uint32_t w[64];
    for (int t = 0; t < 16; t++) {
        w[t] = load_big_endian(block + 4 * t);
    }
    for (int t = 16; t < 64; t++) {
        uint32_t s0 = rotate_right(w[t - 15], 7) ^ rotate_right(w[t - 15], 18) ^ w[t - 15] >> 3;
        uint32_t s1 = rotate_right(w[t - 2], 17) ^ rotate_right(w[t - 2], 19) ^ w[t - 2] >> 10;
        w[t] = w[t - 16] + s0 + w[t - 7] + s1;
    }
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int t = 0; t < 64; t++) {
        uint32_t s1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        uint32_t t1 = h + s1 + ((e & f) ^ (~e & g)) + round_constants[t] + w[t];
        uint32_t s0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        uint32_t t2 = s0 + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + t1;
        d = c, c = b, b = a, a = t1 + t2;
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

// For whole blocks only, which is what the buffer is.
static void sha256(uint8_t digest[DIGEST], const uint8_t *data, size_t size)
{
    uint32_t state[8];
    memcpy(state, initial_state, sizeof state);
    for (size_t offset = 0; offset < size; offset += BLOCK) {
        compress(state, data + offset);
    }
    uint8_t padding[BLOCK] = {0x80};
    uint64_t bits = (uint64_t)size * 8;
    store_big_endian(padding + BLOCK - 8, (uint32_t)(bits >> 32));
    store_big_endian(padding + BLOCK - 4, (uint32_t)bits);
    compress(state, padding);
    for (int i = 0; i < 8; i++) {
        store_big_endian(digest + 4 * i, state[i]);
    }
}

static uint8_t buffer[BUFFER];

int main(int argc, char **argv)
{
    uint64_t rounds = 200;
    if (argc > 2 || (argc == 2 && !parse_number(argv[1], &rounds)) || rounds == 0) {
        fprintf(stderr, "usage: cpu [ROUNDS]\n");
        return 2;
    }
    for (int i = 0; i < BUFFER; i++) {
        buffer[i] = (uint8_t)i;
    }
    for (uint64_t round = 0; round < rounds; round++) {
        uint8_t digest[DIGEST];
        sha256(digest, buffer, sizeof buffer);
        memcpy(buffer, digest, sizeof digest);
    }
    for (int i = 0; i < DIGEST; i++) {
        printf("%02x", buffer[i]);
    }
    printf("\n");
    return fflush(stdout) == 0 ? 0 : 1;
}
