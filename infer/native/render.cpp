// Slices an 8-bit sRGB frame (H, W, 3) through a bilateral grid (gd, gh, gw, 12), as infer/bilateral.py defines it.
//
// Rows are outermost. For one row of pixels the grid is interpolated in y once. Between two cell centres in x (a
// segment) every coefficient is then a small table over depth that changes linearly with x, so that a pixel costs one
// look-up in depth and one affine map. Trilinear interpolation becomes, with f the place between two depths and
// t the place between two cells in x,
//
//     coefficient = (value + f step) + t (value_dx + f step_dx)
//
// where the four tables are read at the pixel's depth. Offsets are scaled by 255 beforehand: pixels stay in 0..255.
//
// Two kernels share everything but the order of the numbers within a cell:
//   plain  one pixel at a time, its 16 (12 used) coefficients side by side; compilers make SSE or NEON of it.
//   avx2   eight pixels at a time. A table of at most eight depths fills one register, so that the look-up is a
//          register permute (vpermps) and no memory is gathered. x86, GCC or Clang; chosen at run time.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#if defined(__GNUC__) && !defined(_MSC_VER) && (defined(__x86_64__) || defined(__i386__))
#define HUEGLASS_AVX2 1
#include <immintrin.h>
#endif

namespace py = pybind11;

namespace {

constexpr int kMaxCells = 64;   // MAX_CELLS in bilateral.py
constexpr int kMaxThreads = 64;
constexpr int kLanes = 8;       // pixels that the avx2 kernel takes at a time, and depths that its tables hold
constexpr float kLuma[3] = {0.299f, 0.587f, 0.114f};

// The pixels of one row between two cell centres, and the tables that hold for them.
struct Segment {
    const float* left;   // values and depth steps of the cell on the left, in the kernel's order
    const float* slope;  // their change from there to the cell on the right
    float t, dt;         // place of the first pixel between the two, 0 to 1, and the step from pixel to pixel
    int pixels;
    int gd;              // depths
    int pieces;          // linear pieces between them, at least 1
};

using Kernel = void (*)(const Segment&, const uint8_t* __restrict, uint8_t* __restrict);

// A kernel and the order in which it wants the numbers of a cell.
struct Layout {
    Kernel kernel;
    size_t cell;                                         // floats per cell
    size_t (*index)(int coefficient, int step, int piece);  // place of a value (step 0) or of its depth step (step 1)
};

// ---------------------------------------------------------------------------------------------- plain

// [piece][value, step][column R G B 1][row R' G' B' and one unused]: a pixel reads two runs of 16 + 16 floats.
size_t plain_index(int coefficient, int step, int piece) {
    const int row = coefficient / 4, column = coefficient % 4;
    return static_cast<size_t>(piece * 2 + step) * 16 + column * 4 + row;
}

// Four floats: one column of the affine matrix. GCC and Clang make a register of it on every machine that has them.
#ifdef __GNUC__
typedef float Float4 __attribute__((vector_size(16)));
#else
struct Float4 {
    float v[4];
    friend Float4 operator+(Float4 a, Float4 b) {
        return {{a.v[0] + b.v[0], a.v[1] + b.v[1], a.v[2] + b.v[2], a.v[3] + b.v[3]}};
    }
    friend Float4 operator*(Float4 a, float b) { return {{a.v[0] * b, a.v[1] * b, a.v[2] * b, a.v[3] * b}}; }
};
#endif

inline Float4 load4(const float* from) {
    Float4 loaded;
    std::memcpy(&loaded, from, sizeof loaded);
    return loaded;
}

// One column of a pixel's matrix: its tables at the pixel's piece, interpolated in depth by f and in x by t.
inline Float4 plain_column(const float* value, const float* value_dx, int column, float f, float t) {
    const Float4 here = load4(value + 4 * column) + load4(value + 16 + 4 * column) * f;
    const Float4 change = load4(value_dx + 4 * column) + load4(value_dx + 16 + 4 * column) * f;
    return here + change * t;
}

void plain_kernel(const Segment& segment, const uint8_t* __restrict in, uint8_t* __restrict out) {
    const Segment s = segment;  // a copy: bytes written to `out` could otherwise change it, for all a compiler knows
    const float scale = s.gd / 255.0f, deepest = s.gd - 1.0f;
    for (int i = 0; i < s.pixels; ++i, in += 3, out += 3) {
        const float r = in[0], g = in[1], b = in[2];
        const float guide = kLuma[0] * r + kLuma[1] * g + kLuma[2] * b;
        const float gz = std::min(std::max(guide * scale - 0.5f, 0.0f), deepest);
        const int piece = std::min(static_cast<int>(gz), s.pieces - 1);
        const float f = gz - piece, t = s.t + i * s.dt;
        const float* value = s.left + 32 * piece;
        const float* value_dx = s.slope + 32 * piece;
        const Float4 linear = plain_column(value, value_dx, 0, f, t) * r + plain_column(value, value_dx, 1, f, t) * g +
                              plain_column(value, value_dx, 2, f, t) * b;
        const Float4 result = linear + plain_column(value, value_dx, 3, f, t);
        float colour[4];
        std::memcpy(colour, &result, sizeof colour);
        for (int c = 0; c < 3; ++c) {
            const float clamped = std::min(std::max(0.0f, colour[c]), 255.0f);  // in this order NaN becomes 0
            out[c] = static_cast<uint8_t>(static_cast<int>(clamped + 0.5f));
        }
    }
}

// ----------------------------------------------------------------------------------------------- avx2

#ifdef HUEGLASS_AVX2
#define AVX2 __attribute__((target("avx2,fma")))

// [coefficient][value, step][piece, padded to 8]: each table is one register.
size_t avx2_index(int coefficient, int step, int piece) {
    return static_cast<size_t>(coefficient * 2 + step) * kLanes + piece;
}

// One coefficient of eight pixels: their tables, looked up at `piece`, interpolated in depth by f and in x by t.
AVX2 inline __m256 avx2_coefficient(const float* left, const float* slope, __m256i piece, __m256 f, __m256 t) {
    const __m256 value = _mm256_permutevar8x32_ps(_mm256_loadu_ps(left), piece);
    const __m256 step = _mm256_permutevar8x32_ps(_mm256_loadu_ps(left + kLanes), piece);
    const __m256 value_dx = _mm256_permutevar8x32_ps(_mm256_loadu_ps(slope), piece);
    const __m256 step_dx = _mm256_permutevar8x32_ps(_mm256_loadu_ps(slope + kLanes), piece);
    return _mm256_fmadd_ps(t, _mm256_fmadd_ps(f, step_dx, value_dx), _mm256_fmadd_ps(f, step, value));
}

// Eight interleaved pixels as three registers of floats in 0..255. Reads 24 bytes: the upper half of the register
// holds bytes 8 to 23, so that its four pixels begin at byte 4.
AVX2 inline void avx2_load(const uint8_t* in, __m256 rgb[3]) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 8));
    const __m256i bytes = _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
    // Each red byte into a 32-bit lane; where the top bit is set, a zero.
    const __m256i red = _mm256_setr_epi8(0, -1, -1, -1, 3, -1, -1, -1, 6, -1, -1, -1, 9, -1, -1, -1,  //
                                         4, -1, -1, -1, 7, -1, -1, -1, 10, -1, -1, -1, 13, -1, -1, -1);
    const __m256i next = _mm256_set1_epi32(1);
    const __m256i green = _mm256_add_epi32(red, next), blue = _mm256_add_epi32(green, next);
    rgb[0] = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, red));
    rgb[1] = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, green));
    rgb[2] = _mm256_cvtepi32_ps(_mm256_shuffle_epi8(bytes, blue));
}

// Clamps, rounds and interleaves eight pixels. Writes 28 bytes, the last four of them zero.
AVX2 inline void avx2_store(const __m256 rgb[3], uint8_t* out) {
    __m256i byte[3];
    for (int c = 0; c < 3; ++c) {
        const __m256 positive = _mm256_max_ps(rgb[c], _mm256_setzero_ps());  // NaN becomes 0
        const __m256 clamped = _mm256_min_ps(positive, _mm256_set1_ps(255.0f));
        byte[c] = _mm256_cvttps_epi32(_mm256_add_ps(clamped, _mm256_set1_ps(0.5f)));
    }
    const __m256i green_blue = _mm256_or_si256(_mm256_slli_epi32(byte[1], 8), _mm256_slli_epi32(byte[2], 16));
    const __m256i pixels = _mm256_or_si256(byte[0], green_blue);
    const __m256i close = _mm256_setr_epi8(0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1,  //
                                           0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14, -1, -1, -1, -1);
    const __m256i packed = _mm256_shuffle_epi8(pixels, close);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm256_castsi256_si128(packed));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 12), _mm256_extracti128_si256(packed, 1));
}

// Works in whole eights: it reads and writes past the segment's end, into what the next segment writes again or into
// the padding of the row.
AVX2 void avx2_kernel(const Segment& s, const uint8_t* __restrict in, uint8_t* __restrict out) {
    const __m256 scale = _mm256_set1_ps(s.gd / 255.0f), deepest = _mm256_set1_ps(s.gd - 1.0f);
    const __m256i last_piece = _mm256_set1_epi32(s.pieces - 1);
    __m256 place = _mm256_setr_ps(0, 1, 2, 3, 4, 5, 6, 7);
    for (int i = 0; i < s.pixels; i += kLanes, in += 3 * kLanes, out += 3 * kLanes) {
        __m256 rgb[3], result[3];
        avx2_load(in, rgb);
        __m256 guide = _mm256_mul_ps(rgb[0], _mm256_set1_ps(kLuma[0]));
        guide = _mm256_fmadd_ps(rgb[1], _mm256_set1_ps(kLuma[1]), guide);
        guide = _mm256_fmadd_ps(rgb[2], _mm256_set1_ps(kLuma[2]), guide);
        __m256 gz = _mm256_fmsub_ps(guide, scale, _mm256_set1_ps(0.5f));
        gz = _mm256_min_ps(_mm256_max_ps(gz, _mm256_setzero_ps()), deepest);
        const __m256i piece = _mm256_min_epi32(_mm256_cvttps_epi32(gz), last_piece);
        const __m256 f = _mm256_sub_ps(gz, _mm256_cvtepi32_ps(piece));
        const __m256 t = _mm256_fmadd_ps(place, _mm256_set1_ps(s.dt), _mm256_set1_ps(s.t));
        for (int row = 0; row < 3; ++row) {
            const float* left = s.left + row * 4 * 2 * kLanes;
            const float* slope = s.slope + row * 4 * 2 * kLanes;
            result[row] = avx2_coefficient(left + 3 * 2 * kLanes, slope + 3 * 2 * kLanes, piece, f, t);
            for (int column = 0; column < 3; ++column) {
                const int at = column * 2 * kLanes;
                const __m256 coefficient = avx2_coefficient(left + at, slope + at, piece, f, t);
                result[row] = _mm256_fmadd_ps(coefficient, rgb[column], result[row]);
            }
        }
        avx2_store(result, out);
        place = _mm256_add_ps(place, _mm256_set1_ps(kLanes));
    }
}
#endif

bool avx2_here() {
#ifdef HUEGLASS_AVX2
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

Layout choose_layout(int pieces, bool plain) {
#ifdef HUEGLASS_AVX2
    if (!plain && pieces <= kLanes && avx2_here()) return {avx2_kernel, 12 * 2 * kLanes, avx2_index};
#endif
    (void)plain;
    return {plain_kernel, static_cast<size_t>(pieces) * 32, plain_index};
}

// ------------------------------------------------------------------------------------- grid and frame

// The grid in the order of the kernel: (gh, gw) cells of `layout.cell` floats.
struct Grid {
    int gd, gh, gw, pieces;
    Layout layout;
    std::vector<float> cells;

    size_t row_floats() const { return layout.cell * gw; }
};

Grid pack_grid(const float* source, int gd, int gh, int gw, bool plain) {
    const int pieces = std::max(gd - 1, 1);
    Grid grid{gd, gh, gw, pieces, choose_layout(pieces, plain), {}};
    const size_t plane = static_cast<size_t>(gh) * gw * 12;
    grid.cells.assign(grid.row_floats() * gh, 0.0f);
    for (size_t cell = 0; cell < static_cast<size_t>(gh) * gw; ++cell) {
        float* packed = grid.cells.data() + cell * grid.layout.cell;
        for (int piece = 0; piece < pieces; ++piece) {
            const float* near = source + piece * plane + cell * 12;
            const float* far = source + std::min(piece + 1, gd - 1) * plane + cell * 12;
            for (int c = 0; c < 12; ++c) {
                const float scale = c % 4 == 3 ? 255.0f : 1.0f;
                packed[grid.layout.index(c, 0, piece)] = scale * near[c];
                packed[grid.layout.index(c, 1, piece)] = scale * (far[c] - near[c]);
            }
        }
    }
    return grid;
}

struct Frame {
    const uint8_t* in;  // (height, width, 3), contiguous
    uint8_t* out;       // the same; may be `in`
    int64_t height, width;
};

// What one thread works in. Pixels pass through row buffers, padded for the whole eights of a kernel, which also
// makes it safe to render in place.
struct Scratch {
    std::vector<float> row, slope;
    std::vector<uint8_t> in, out;

    Scratch(const Grid& grid, const Frame& frame)
        : row(grid.row_floats()), slope(grid.layout.cell), in(3 * (frame.width + 2 * kLanes)), out(in.size()) {}
};

// The grid at the height of pixel row y: (gw) cells.
void interpolate_row(const Grid& grid, const Frame& frame, int64_t y, float* __restrict row) {
    const double centred = (y + 0.5) * grid.gh / frame.height - 0.5;
    const double gy = std::min(std::max(centred, 0.0), grid.gh - 1.0);
    const int y0 = std::min(static_cast<int>(gy), std::max(grid.gh - 2, 0));
    const int y1 = std::min(y0 + 1, grid.gh - 1);
    const float f = static_cast<float>(gy - y0);
    const size_t n = grid.row_floats();
    const float* top = grid.cells.data() + y0 * n;
    const float* bottom = grid.cells.data() + y1 * n;
    for (size_t i = 0; i < n; ++i) row[i] = top[i] * (1 - f) + bottom[i] * f;
}

// The first pixel at or right of the centre of cell `cell` (-1 and gw stand for the frame's borders):
// the smallest x with (x + 1/2) gw / width >= cell + 1/2, in whole numbers.
int64_t first_pixel(int64_t cell, int64_t gw, int64_t width) {
    if (cell < 0) return 0;
    if (cell >= gw) return width;
    const int64_t numerator = (2 * cell + 1) * width - gw;
    return numerator <= 0 ? 0 : (numerator + 2 * gw - 1) / (2 * gw);
}

void render_row(const Grid& grid, const Frame& frame, int64_t y, Scratch& scratch) {
    const size_t bytes = static_cast<size_t>(frame.width) * 3;
    std::memcpy(scratch.in.data(), frame.in + y * bytes, bytes);
    interpolate_row(grid, frame, y, scratch.row.data());
    const double dt = static_cast<double>(grid.gw) / frame.width;
    for (int cell = -1; cell < grid.gw; ++cell) {  // from the centre of `cell` to that of the next one
        const int64_t begin = first_pixel(cell, grid.gw, frame.width);
        const int64_t end = first_pixel(cell + 1, grid.gw, frame.width);
        if (begin >= end) continue;
        const float* left = scratch.row.data() + std::max(cell, 0) * grid.layout.cell;
        const float* right = scratch.row.data() + std::min(cell + 1, grid.gw - 1) * grid.layout.cell;
        for (size_t i = 0; i < grid.layout.cell; ++i) scratch.slope[i] = right[i] - left[i];
        const float t = static_cast<float>((begin + 0.5) * dt - 0.5 - cell);
        const Segment segment{left, scratch.slope.data(), t, static_cast<float>(dt), static_cast<int>(end - begin),
                              grid.gd, grid.pieces};
        grid.layout.kernel(segment, scratch.in.data() + 3 * begin, scratch.out.data() + 3 * begin);
    }
    std::memcpy(frame.out + y * bytes, scratch.out.data(), bytes);
}

void render_frame(const Grid& grid, const Frame& frame, int threads) {
    const int64_t bands = std::min<int64_t>(threads, frame.height);
    // Every allocation happens here: an exception inside a thread would end the process.
    std::vector<Scratch> scratch(bands, Scratch(grid, frame));
    const auto render_band = [&](int64_t band) {
        const int64_t end = frame.height * (band + 1) / bands;
        for (int64_t y = frame.height * band / bands; y < end; ++y) render_row(grid, frame, y, scratch[band]);
    };
    std::vector<std::thread> workers;
    workers.reserve(bands);
    for (int64_t band = 1; band < bands; ++band) {
        try {
            workers.emplace_back(render_band, band);
        } catch (const std::system_error&) {  // the system gives no more threads
            render_band(band);
        }
    }
    render_band(0);
    for (std::thread& worker : workers) worker.join();
}

// --------------------------------------------------------------------------------------------- Python

std::string shape_of(const py::array& array) { return py::str(array.attr("shape")); }

void check_image(const py::array& image, const char* name) {
    if (!py::isinstance<py::array_t<uint8_t>>(image) || image.ndim() != 3 || image.shape(2) != 3)
        throw std::invalid_argument(std::string(name) + " has shape " + shape_of(image) + ", expected uint8 (H, W, 3)");
    for (int axis = 0; axis < 2; ++axis)
        if (image.shape(axis) < 1 || image.shape(axis) > std::numeric_limits<int32_t>::max())
            throw std::invalid_argument(std::string(name) + " has shape " + shape_of(image) + ", out of range");
    if (!(image.flags() & py::array::c_style))
        throw std::invalid_argument(std::string(name) + " is not contiguous");
}

void check_grid(const py::array& grid) {
    bool good = py::isinstance<py::array_t<float>>(grid) && grid.ndim() == 4 && grid.shape(3) == 12;
    for (int axis = 0; good && axis < 3; ++axis) good = grid.shape(axis) >= 1 && grid.shape(axis) <= kMaxCells;
    if (!good)
        throw std::invalid_argument("grid has shape " + shape_of(grid) +
                                    ", expected float32 (gd, gh, gw, 12), axes 1 to " + std::to_string(kMaxCells));
    if (!(grid.flags() & py::array::c_style)) throw std::invalid_argument("grid is not contiguous");
}

void check_out(const py::array& image, const py::array& out) {
    check_image(out, "out");
    if (out.shape(0) != image.shape(0) || out.shape(1) != image.shape(1))
        throw std::invalid_argument("out has shape " + shape_of(out) + ", expected " + shape_of(image));
    if (!out.writeable()) throw std::invalid_argument("out is read-only");
    const auto from = reinterpret_cast<uintptr_t>(image.data()), to = reinterpret_cast<uintptr_t>(out.data());
    const auto bytes = static_cast<uintptr_t>(image.nbytes());
    if (from != to && from < to + bytes && to < from + bytes)
        throw std::invalid_argument("out overlaps image without being the same");
}

void render(const py::array& grid, const py::array& image, py::array out, int threads, bool plain) {
    check_grid(grid);
    check_image(image, "image");
    check_out(image, out);
    if (threads < 1 || threads > kMaxThreads)
        throw std::invalid_argument("threads is " + std::to_string(threads) + ", expected 1 to " +
                                    std::to_string(kMaxThreads));
    const auto* coefficients = static_cast<const float*>(grid.data());
    const int gd = static_cast<int>(grid.shape(0)), gh = static_cast<int>(grid.shape(1));
    const int gw = static_cast<int>(grid.shape(2));
    const Frame frame{static_cast<const uint8_t*>(image.data()), static_cast<uint8_t*>(out.mutable_data()),
                      image.shape(0), image.shape(1)};
    py::gil_scoped_release unlocked;
    render_frame(pack_grid(coefficients, gd, gh, gw, plain), frame, threads);
}

}  // namespace

PYBIND11_MODULE(_render, module) {
    module.doc() = "Slices 8-bit frames through bilateral grids. Called through hueglass.infer.native.render.";
    module.attr("MAX_THREADS") = kMaxThreads;
    module.attr("AVX2") = avx2_here();
    module.def("render", &render, py::arg("grid"), py::arg("image"), py::arg("out"), py::arg("threads") = 1,
               py::arg("plain") = false,
               "Renders image (H, W, 3) uint8 sRGB through grid (gd, gh, gw, 12) float32 into out, which may be\n"
               "the image. All are contiguous. `plain` keeps to the portable kernel. ValueError: wrong arguments.");
}
