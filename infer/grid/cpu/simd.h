// Vectors of 16-bit numbers: one struct per instruction set, all with the same functions, so that slice_row.inc is
// written once. Where the instruction set has no such vectors, or a compiler cannot be told to use them, Plain does
// the same one number at a time: every set gives the same results to the bit.
//
// "Fraction" below is a number f / 2^15; a table is eight numbers in a row.

#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

struct Plain {
    using V = int16_t;
    using Index = int;
    static constexpr int lanes = 1;

    static int16_t clamp(int x) { return static_cast<int16_t>(std::min(std::max(x, -32768), 32767)); }

    static V load(const int16_t* from) { return *from; }
    static void store(int16_t* to, V a) { *to = a; }
    static V all(int x) { return static_cast<int16_t>(x); }
    static V plus(V a, V b) { return static_cast<int16_t>(a + b); }  // for sums known to be within the range
    // Sums and differences that stop at its ends.
    static V add(V a, V b) { return clamp(a + b); }
    static V subtract(V a, V b) { return clamp(a - b); }
    static V max(V a, V b) { return std::max(a, b); }
    static V min(V a, V b) { return std::min(a, b); }
    // a times the fraction b, rounded.
    static V times(V a, V b) { return static_cast<int16_t>((a * b + (1 << 14)) >> 15); }
    // The same of numbers without a sign, and 2^16: a b / 2^16, rounded down; sum and difference from 0 to 65535.
    static V high(V a, V b) { return static_cast<int16_t>((static_cast<uint32_t>(bits(a)) * static_cast<uint32_t>(bits(b))) >> 16); }
    static V add_unsigned(V a, V b) { return static_cast<int16_t>(std::min(bits(a) + bits(b), 65535)); }
    static V subtract_unsigned(V a, V b) { return static_cast<int16_t>(std::max(bits(a) - bits(b), 0)); }
    static V min_unsigned(V a, V b) { return bits(a) < bits(b) ? a : b; }
    static V average_unsigned(V a, V b) { return static_cast<int16_t>((bits(a) + bits(b) + 1) >> 1); }
    static V left(V a, int n) { return static_cast<int16_t>(bits(a) << n); }
    static V right(V a, int n) { return static_cast<int16_t>(bits(a) >> n); }  // zeros come in
    static V both(V a, V b) { return static_cast<int16_t>(a & b); }
    static V either(V a, V b) { return static_cast<int16_t>(a | b); }

    static Index index(V piece) { return piece; }  // from 0..7
    static V look_up(const int16_t* table, Index piece) { return table[piece]; }

    static V load_bytes(const uint8_t* from) { return *from; }
    static void store_bytes(uint8_t* to, V a) { *to = static_cast<uint8_t>(std::min(std::max<int>(a, 0), 255)); }
    // Each byte for two lanes.
    static V load_bytes_twice(const uint8_t* from) { return *from; }
    static void load_triples(const uint8_t* from, V rgb[3]) {
        for (int c = 0; c < 3; ++c) rgb[c] = from[c];
    }
    static void store_triples(uint8_t* to, const V rgb[3]) {
        for (int c = 0; c < 3; ++c) store_bytes(to + c, rgb[c]);
    }
    // Means of squares of two rows of twice as many numbers, from 0 up.
    static V squares(const int16_t* top, const int16_t* bottom) {
        return average_unsigned(average_unsigned(top[0], bottom[0]), average_unsigned(top[1], bottom[1]));
    }

  private:
    static int bits(V a) { return static_cast<uint16_t>(a); }
};

#if defined(__GNUC__) && defined(__x86_64__)
#define HUEGLASS_X86 1
#include <immintrin.h>

#define INLINE static inline __attribute__((always_inline))

// Three times sixteen bytes of interleaved triples, apart; and back. For both x86 sets.
struct Triples {
    __m128i channel[3];
};

#pragma GCC push_options
#pragma GCC target("avx2")
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#endif

INLINE Triples apart(const uint8_t* from) {
    const char no = -1;
    const auto* p = reinterpret_cast<const __m128i*>(from);
    const __m128i a = _mm_loadu_si128(p), b = _mm_loadu_si128(p + 1), c = _mm_loadu_si128(p + 2);
    const auto pick = [](__m128i x, __m128i where) { return _mm_shuffle_epi8(x, where); };
    const auto three = [](__m128i x, __m128i y, __m128i z) { return _mm_or_si128(_mm_or_si128(x, y), z); };
    return {{three(pick(a, _mm_setr_epi8(0, 3, 6, 9, 12, 15, no, no, no, no, no, no, no, no, no, no)),
                   pick(b, _mm_setr_epi8(no, no, no, no, no, no, 2, 5, 8, 11, 14, no, no, no, no, no)),
                   pick(c, _mm_setr_epi8(no, no, no, no, no, no, no, no, no, no, no, 1, 4, 7, 10, 13))),
             three(pick(a, _mm_setr_epi8(1, 4, 7, 10, 13, no, no, no, no, no, no, no, no, no, no, no)),
                   pick(b, _mm_setr_epi8(no, no, no, no, no, 0, 3, 6, 9, 12, 15, no, no, no, no, no)),
                   pick(c, _mm_setr_epi8(no, no, no, no, no, no, no, no, no, no, no, 2, 5, 8, 11, 14))),
             three(pick(a, _mm_setr_epi8(2, 5, 8, 11, 14, no, no, no, no, no, no, no, no, no, no, no)),
                   pick(b, _mm_setr_epi8(no, no, no, no, no, 1, 4, 7, 10, 13, no, no, no, no, no, no)),
                   pick(c, _mm_setr_epi8(no, no, no, no, no, no, no, no, no, no, 0, 3, 6, 9, 12, 15)))}};
}

INLINE void together(uint8_t* to, const Triples& t) {
    const char no = -1;
    auto* p = reinterpret_cast<__m128i*>(to);
    const __m128i r = t.channel[0], g = t.channel[1], b = t.channel[2];
    const auto pick = [](__m128i x, __m128i where) { return _mm_shuffle_epi8(x, where); };
    const auto three = [](__m128i x, __m128i y, __m128i z) { return _mm_or_si128(_mm_or_si128(x, y), z); };
    _mm_storeu_si128(p, three(pick(r, _mm_setr_epi8(0, no, no, 1, no, no, 2, no, no, 3, no, no, 4, no, no, 5)),
                              pick(g, _mm_setr_epi8(no, 0, no, no, 1, no, no, 2, no, no, 3, no, no, 4, no, no)),
                              pick(b, _mm_setr_epi8(no, no, 0, no, no, 1, no, no, 2, no, no, 3, no, no, 4, no))));
    _mm_storeu_si128(p + 1, three(pick(r, _mm_setr_epi8(no, no, 6, no, no, 7, no, no, 8, no, no, 9, no, no, 10, no)),
                                  pick(g, _mm_setr_epi8(5, no, no, 6, no, no, 7, no, no, 8, no, no, 9, no, no, 10)),
                                  pick(b, _mm_setr_epi8(no, 5, no, no, 6, no, no, 7, no, no, 8, no, no, 9, no, no))));
    _mm_storeu_si128(p + 2,
                     three(pick(r, _mm_setr_epi8(no, 11, no, no, 12, no, no, 13, no, no, 14, no, no, 15, no, no)),
                           pick(g, _mm_setr_epi8(no, no, 11, no, no, 12, no, no, 13, no, no, 14, no, no, 15, no)),
                           pick(b, _mm_setr_epi8(10, no, no, 11, no, no, 12, no, no, 13, no, no, 14, no, no, 15))));
}

struct Avx2 {
    using V = __m256i;
    using Index = __m256i;
    static constexpr int lanes = 16;

    INLINE V load(const int16_t* from) { return _mm256_loadu_si256(reinterpret_cast<const V*>(from)); }
    INLINE void store(int16_t* to, V a) { _mm256_storeu_si256(reinterpret_cast<V*>(to), a); }
    INLINE V all(int x) { return _mm256_set1_epi16(static_cast<int16_t>(x)); }
    INLINE V plus(V a, V b) { return _mm256_add_epi16(a, b); }
    INLINE V add(V a, V b) { return _mm256_adds_epi16(a, b); }
    INLINE V subtract(V a, V b) { return _mm256_subs_epi16(a, b); }
    INLINE V max(V a, V b) { return _mm256_max_epi16(a, b); }
    INLINE V min(V a, V b) { return _mm256_min_epi16(a, b); }
    INLINE V times(V a, V b) { return _mm256_mulhrs_epi16(a, b); }
    INLINE V high(V a, V b) { return _mm256_mulhi_epu16(a, b); }
    INLINE V add_unsigned(V a, V b) { return _mm256_adds_epu16(a, b); }
    INLINE V subtract_unsigned(V a, V b) { return _mm256_subs_epu16(a, b); }
    INLINE V min_unsigned(V a, V b) { return _mm256_min_epu16(a, b); }
    INLINE V average_unsigned(V a, V b) { return _mm256_avg_epu16(a, b); }
    INLINE V left(V a, int n) { return _mm256_slli_epi16(a, n); }
    INLINE V right(V a, int n) { return _mm256_srli_epi16(a, n); }
    INLINE V both(V a, V b) { return _mm256_and_si256(a, b); }
    INLINE V either(V a, V b) { return _mm256_or_si256(a, b); }

    // The places of the two bytes of each lane's number in its table: a table fills half a register.
    INLINE Index index(V piece) {
        const V low = left(piece, 1);
        return either(either(low, left(low, 8)), all(0x0100));
    }
    INLINE V look_up(const int16_t* table, Index at) {
        const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
        return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(eight), at);
    }

    INLINE V load_bytes(const uint8_t* from) {
        return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    }
    INLINE void store_bytes(uint8_t* to, V a) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed(a)); }
    INLINE V load_bytes_twice(const uint8_t* from) {
        const __m128i eight = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(from));
        return _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(eight, eight));
    }
    INLINE void load_triples(const uint8_t* from, V rgb[3]) {
        const Triples t = apart(from);
        for (int c = 0; c < 3; ++c) rgb[c] = _mm256_cvtepu8_epi16(t.channel[c]);
    }
    INLINE void store_triples(uint8_t* to, const V rgb[3]) {
        together(to, {{packed(rgb[0]), packed(rgb[1]), packed(rgb[2])}});
    }
    INLINE V squares(const int16_t* top, const int16_t* bottom) {
        const V first = pairs(average_unsigned(load(top), load(bottom)));
        const V second = pairs(average_unsigned(load(top + lanes), load(bottom + lanes)));
        return _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xD8);
    }

  private:
    // Sixteen numbers to bytes, from 0 to 255.
    INLINE __m128i packed(V a) {
        return _mm_packus_epi16(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    }
    // Means of neighbours, in 32 bits.
    INLINE V pairs(V a) {
        return _mm256_srli_epi32(_mm256_add_epi32(_mm256_madd_epi16(a, all(1)), _mm256_set1_epi32(1)), 1);
    }
};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512vl")
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512bw,avx512vl"))), apply_to = function)
#endif
struct Avx512 {
    using V = __m512i;
    using Index = __m512i;
    static constexpr int lanes = 32;

    INLINE V load(const int16_t* from) { return _mm512_loadu_si512(from); }
    INLINE void store(int16_t* to, V a) { _mm512_storeu_si512(to, a); }
    INLINE V all(int x) { return _mm512_set1_epi16(static_cast<int16_t>(x)); }
    INLINE V plus(V a, V b) { return _mm512_add_epi16(a, b); }
    INLINE V add(V a, V b) { return _mm512_adds_epi16(a, b); }
    INLINE V subtract(V a, V b) { return _mm512_subs_epi16(a, b); }
    INLINE V max(V a, V b) { return _mm512_max_epi16(a, b); }
    INLINE V min(V a, V b) { return _mm512_min_epi16(a, b); }
    INLINE V times(V a, V b) { return _mm512_mulhrs_epi16(a, b); }
    INLINE V high(V a, V b) { return _mm512_mulhi_epu16(a, b); }
    INLINE V add_unsigned(V a, V b) { return _mm512_adds_epu16(a, b); }
    INLINE V subtract_unsigned(V a, V b) { return _mm512_subs_epu16(a, b); }
    INLINE V min_unsigned(V a, V b) { return _mm512_min_epu16(a, b); }
    INLINE V average_unsigned(V a, V b) { return _mm512_avg_epu16(a, b); }
    INLINE V left(V a, int n) { return _mm512_slli_epi16(a, static_cast<unsigned>(n)); }
    INLINE V right(V a, int n) { return _mm512_srli_epi16(a, static_cast<unsigned>(n)); }
    INLINE V both(V a, V b) { return _mm512_and_si512(a, b); }
    INLINE V either(V a, V b) { return _mm512_or_si512(a, b); }

    INLINE Index index(V piece) {  // as with Avx2: a table fills a quarter of a register
        const V low = left(piece, 1);
        return either(either(low, left(low, 8)), all(0x0100));
    }
    INLINE V look_up(const int16_t* table, Index at) {
        const __m128i eight = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table));
        return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(eight), at);
    }

    INLINE V load_bytes(const uint8_t* from) {
        return _mm512_cvtepu8_epi16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(from)));
    }
    INLINE void store_bytes(uint8_t* to, V a) {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), packed(a));
    }
    INLINE V load_bytes_twice(const uint8_t* from) {
        const __m128i sixteen = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from));
        const __m128i low = _mm_unpacklo_epi8(sixteen, sixteen), high = _mm_unpackhi_epi8(sixteen, sixteen);
        return _mm512_cvtepu8_epi16(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
    }
    INLINE void load_triples(const uint8_t* from, V rgb[3]) {
        const Triples low = apart(from), high = apart(from + 48);
        for (int c = 0; c < 3; ++c) {
            const __m256i bytes = _mm256_castsi128_si256(low.channel[c]);
            rgb[c] = _mm512_cvtepu8_epi16(_mm256_inserti128_si256(bytes, high.channel[c], 1));
        }
    }
    INLINE void store_triples(uint8_t* to, const V rgb[3]) {
        Triples low, high;
        for (int c = 0; c < 3; ++c) {
            const __m256i bytes = packed(rgb[c]);
            low.channel[c] = _mm256_castsi256_si128(bytes);
            high.channel[c] = _mm256_extracti128_si256(bytes, 1);
        }
        together(to, low);
        together(to + 48, high);
    }
    INLINE V squares(const int16_t* top, const int16_t* bottom) {
        const __m256i first = pairs(average_unsigned(load(top), load(bottom)));
        const __m256i second = pairs(average_unsigned(load(top + lanes), load(bottom + lanes)));
        return _mm512_inserti64x4(_mm512_castsi256_si512(first), second, 1);
    }

  private:
    INLINE __m256i packed(V a) { return _mm512_cvtusepi16_epi8(_mm512_max_epi16(a, _mm512_setzero_si512())); }
    INLINE __m256i pairs(V a) {
        const V sums = _mm512_madd_epi16(a, all(1));
        return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_add_epi32(sums, _mm512_set1_epi32(1)), 1));
    }
};
#if defined(__clang__)
#pragma clang attribute pop
#endif
#pragma GCC pop_options
#undef INLINE
#endif

#if defined(__GNUC__) && defined(__aarch64__)
#define HUEGLASS_NEON 1
#include <arm_neon.h>

struct Neon {
    using V = int16x8_t;
    using Index = uint8x16_t;
    static constexpr int lanes = 8;

    static V load(const int16_t* from) { return vld1q_s16(from); }
    static void store(int16_t* to, V a) { vst1q_s16(to, a); }
    static V all(int x) { return vdupq_n_s16(static_cast<int16_t>(x)); }
    static V plus(V a, V b) { return vaddq_s16(a, b); }
    static V add(V a, V b) { return vqaddq_s16(a, b); }
    static V subtract(V a, V b) { return vqsubq_s16(a, b); }
    static V max(V a, V b) { return vmaxq_s16(a, b); }
    static V min(V a, V b) { return vminq_s16(a, b); }
    static V times(V a, V b) { return vqrdmulhq_s16(a, b); }
    static V high(V a, V b) {
        const uint16x8_t x = bits(a), y = bits(b);
        const uint32x4_t low = vmull_u16(vget_low_u16(x), vget_low_u16(y));
        const uint32x4_t high = vmull_high_u16(x, y);
        return number(vuzp2q_u16(vreinterpretq_u16_u32(low), vreinterpretq_u16_u32(high)));
    }
    static V add_unsigned(V a, V b) { return number(vqaddq_u16(bits(a), bits(b))); }
    static V subtract_unsigned(V a, V b) { return number(vqsubq_u16(bits(a), bits(b))); }
    static V min_unsigned(V a, V b) { return number(vminq_u16(bits(a), bits(b))); }
    static V average_unsigned(V a, V b) { return number(vrhaddq_u16(bits(a), bits(b))); }
    static V left(V a, int n) { return vshlq_s16(a, all(n)); }
    static V right(V a, int n) { return number(vshlq_u16(bits(a), all(-n))); }
    static V both(V a, V b) { return vandq_s16(a, b); }
    static V either(V a, V b) { return vorrq_s16(a, b); }

    static Index index(V piece) {
        const V low = left(piece, 1);
        return vreinterpretq_u8_s16(either(either(low, left(low, 8)), all(0x0100)));
    }
    static V look_up(const int16_t* table, Index at) {
        return vreinterpretq_s16_u8(vqtbl1q_u8(vreinterpretq_u8_s16(vld1q_s16(table)), at));
    }

    static V load_bytes(const uint8_t* from) { return number(vmovl_u8(vld1_u8(from))); }
    static void store_bytes(uint8_t* to, V a) { vst1_u8(to, vqmovun_s16(a)); }
    static V load_bytes_twice(const uint8_t* from) {
        uint32_t four;
        std::memcpy(&four, from, sizeof four);
        const uint8x8_t bytes = vreinterpret_u8_u32(vdup_n_u32(four));
        return number(vmovl_u8(vzip1_u8(bytes, bytes)));
    }
    static void load_triples(const uint8_t* from, V rgb[3]) {
        const uint8x8x3_t bytes = vld3_u8(from);
        for (int c = 0; c < 3; ++c) rgb[c] = number(vmovl_u8(bytes.val[c]));
    }
    static void store_triples(uint8_t* to, const V rgb[3]) {
        uint8x8x3_t bytes;
        for (int c = 0; c < 3; ++c) bytes.val[c] = vqmovun_s16(rgb[c]);
        vst3_u8(to, bytes);
    }
    static V squares(const int16_t* top, const int16_t* bottom) {
        const V first = average_unsigned(load(top), load(bottom));
        const V second = average_unsigned(load(top + lanes), load(bottom + lanes));
        const V even = vuzp1q_s16(first, second), odd = vuzp2q_s16(first, second);
        return average_unsigned(even, odd);
    }

  private:
    static uint16x8_t bits(V a) { return vreinterpretq_u16_s16(a); }
    static V number(uint16x8_t a) { return vreinterpretq_s16_u16(a); }
};
#endif
