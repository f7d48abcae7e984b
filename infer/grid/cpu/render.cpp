// Slices 8-bit frames through a bilateral grid (gd, gh, gw, 12), as infer/grid/bilateral.py defines it: sRGB (H, W, 3), or
// Y'CbCr 4:2:0 in three planes.
//
// Rows are outermost. A row becomes three planes of 16-bit colours, is sliced, and becomes bytes again. For one row
// the grid is interpolated in y once. Between two cell centres in x (a segment) every coefficient is then a table over
// depth that changes linearly with x, so that trilinear interpolation becomes, with f the place between two depths and
// t the place between two cells,
//
//     coefficient = (value + f step) + t (value_dx + f step_dx)
//
// where the four tables are read at the pixel's depth. A table of at most eight 16-bit numbers fits the register that a
// byte shuffle looks up in (pshufb, tbl): no memory is gathered, and one instruction serves 8, 16 or 32 pixels.
// Numbers are fixed-point, at the finest scale that the grid allows. What does not fit, grids of more than eight
// depths or of enormous coefficients, is sliced pixel by pixel in floats.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "simd.h"

namespace py = pybind11;

namespace {

constexpr int kMaxCells = 64;    // MAX_CELLS in bilateral.py
constexpr int kMaxThreads = 64;
constexpr int kPadding = 64;     // lanes of the widest vectors, twice: chroma is made of two
constexpr int kDepths = 8;       // numbers in a table
constexpr int kCellTables = 24;  // per cell: of each coefficient its values and its steps, one after the other
constexpr int kLeastBits = 12;   // of a coefficient's fraction: with fewer, a result may be off by more than a level
constexpr int kMostBits = 14;
constexpr float kLuma[3] = {0.299f, 0.587f, 0.114f};

struct Row {
    std::array<int16_t*, 3> plane;  // red, green, blue
};

// How numbers of a grid are to be read: fractions of 2^bits. `guide` are the luma weights times the depth, in 8192ths.
struct GridScale {
    int bits, deepest, guide[3];
};

// Y'CbCr to and from colours in 16 bits: see make_matrix.
struct YuvMatrix {
    int black, grey, red_cr, green_cb, green_cr, blue_cb;
    int luma[3], cb[3], cr[3];
};

// What is written once per instruction set, in slice_row.inc.
struct Kernels {
    const char* name;
    void (*load_triples)(const uint8_t*, const Row&, int64_t);
    void (*store_triples)(const Row&, uint8_t*, int64_t);
    void (*load_yuv)(const YuvMatrix&, const uint8_t*, const uint8_t*, const uint8_t*, const Row&, int64_t);
    void (*store_luma)(const YuvMatrix&, const Row&, uint8_t*, int64_t);
    void (*store_chroma)(const YuvMatrix&, const Row&, const Row&, uint8_t*, uint8_t*, int64_t);
    void (*interpolate_row)(const int16_t*, const int16_t*, int, int16_t*, size_t);
    void (*change_of_tables)(const int16_t*, const int16_t*, int16_t*);
    void (*slice_segment)(const GridScale&, const int16_t*, const int16_t*, const int16_t*, const Row&, const Row&,
                          int64_t, int64_t);
};

namespace plain {
using S = Plain;
#define NAME "plain"
#include "slice_row.inc"
#undef NAME
}  // namespace plain

#ifdef HUEGLASS_X86
#pragma GCC push_options
#pragma GCC target("avx2")
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#endif
namespace avx2 {
using S = Avx2;
#define NAME "avx2"
#include "slice_row.inc"
#undef NAME
}  // namespace avx2
#ifdef __clang__
#pragma clang attribute pop
#endif
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("avx2,avx512f,avx512bw,avx512vl")
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,avx512f,avx512bw,avx512vl"))), apply_to = function)
#endif
namespace avx512 {
using S = Avx512;
#define NAME "avx512"
#include "slice_row.inc"
#undef NAME
}  // namespace avx512
#ifdef __clang__
#pragma clang attribute pop
#endif
#pragma GCC pop_options
#endif

#ifdef HUEGLASS_NEON
namespace neon {
using S = Neon;
#define NAME "neon"
#include "slice_row.inc"
#undef NAME
}  // namespace neon
#endif

// Those that this machine can run, the fastest first.
std::vector<const Kernels*> kernels_here() {
    std::vector<const Kernels*> found;
#ifdef HUEGLASS_X86
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) found.push_back(&avx512::kernels);
    if (__builtin_cpu_supports("avx2")) found.push_back(&avx2::kernels);
#endif
#ifdef HUEGLASS_NEON
    found.push_back(&neon::kernels);
#endif
    found.push_back(&plain::kernels);
    return found;
}

const Kernels& choose_kernels(const std::string& name) {
    const auto here = kernels_here();
    if (name.empty()) return *here.front();
    for (const Kernels* kernels : here)
        if (name == kernels->name) return *kernels;
    throw std::invalid_argument("path " + name + " cannot run on this machine");
}

// ---------------------------------------------------------------------------------------------- grid

// A grid (gd, gh, gw, 12) and, where it fits, its tables in fixed point: of each height (gw, kCellTables, kDepths)
// numbers, and their way down to the next height.
struct Grid {
    const float* source;
    int gd, gh, gw;
    bool fits = false;
    GridScale scale{};
    std::vector<int16_t> tables{}, down{};

    size_t row_numbers() const { return static_cast<size_t>(gw) * kCellTables * kDepths; }
    const float* vertex(int z, int y, int x) const { return source + ((static_cast<size_t>(z) * gh + y) * gw + x) * 12; }
};

// By how much the grid's coefficients are to be multiplied so that they, every difference that is formed of them and
// every sum over a colour stay below 2^15: the power of two, or less than kLeastBits if there is none.
int fraction_bits(const Grid& grid) {
    float largest = 0;
    bool finite = true;
    for (int z = 0; z < grid.gd; ++z)
        for (int y = 0; y < grid.gh; ++y)
            for (int x = 0; x < grid.gw; ++x) {
                const int deeper = std::min(z + 1, grid.gd - 1), below = std::min(y + 1, grid.gh - 1);
                const int right = std::min(x + 1, grid.gw - 1);
                const float *here = grid.vertex(z, y, x), *dz = grid.vertex(deeper, y, x);
                const float *dx = grid.vertex(z, y, right), *dxz = grid.vertex(deeper, y, right);
                const float *dy = grid.vertex(z, below, x), *dyz = grid.vertex(deeper, below, x);
                float sums[3] = {};
                for (int c = 0; c < 12; ++c) {
                    sums[c / 4] += std::fabs(here[c]);
                    for (const float n : {dz[c] - here[c], dx[c] - here[c], dy[c] - here[c],
                                          dxz[c] - dz[c] - dx[c] + here[c], dyz[c] - dz[c] - dy[c] + here[c]})
                        largest = std::max(largest, std::fabs(n));
                }
                largest = std::max({largest, sums[0], sums[1], sums[2]});
                finite = finite && std::isfinite(sums[0] + sums[1] + sums[2]);
            }
    int bits = finite ? kMostBits : 0;
    while (bits >= kLeastBits && largest * static_cast<float>(1 << bits) > 32700.0f) --bits;  // rounding adds some
    return bits;
}

void fill_tables(Grid& grid) {
    const float scale = static_cast<float>(1 << grid.scale.bits);
    const size_t row = grid.row_numbers();
    // Rounded up to whole vectors, of which the last may run past the last row.
    grid.tables.assign(row * grid.gh + kPadding, 0);
    grid.down.assign(row * grid.gh + kPadding, 0);
    for (int y = 0; y < grid.gh; ++y)
        for (int x = 0; x < grid.gw; ++x)
            for (int c = 0; c < 12; ++c) {
                int16_t* values = grid.tables.data() + y * row + (static_cast<size_t>(x) * kCellTables + 2 * c) * kDepths;
                for (int z = 0; z < grid.gd; ++z)
                    values[z] = static_cast<int16_t>(std::lrint(grid.vertex(z, y, x)[c] * scale));
                for (int z = 0; z + 1 < grid.gd; ++z)
                    values[kDepths + z] = static_cast<int16_t>(values[z + 1] - values[z]);
            }
    for (size_t i = 0; i < row * (grid.gh - 1); ++i)
        grid.down[i] = static_cast<int16_t>(grid.tables[i + row] - grid.tables[i]);
}

Grid prepare_grid(const float* source, int gd, int gh, int gw) {
    Grid grid{source, gd, gh, gw};
    const int bits = gd <= kDepths ? fraction_bits(grid) : 0;
    grid.fits = bits >= kLeastBits;
    if (!grid.fits) return grid;
    grid.scale.bits = bits;
    grid.scale.deepest = (gd - 1) * 8192;
    for (int c = 0; c < 3; ++c) grid.scale.guide[c] = static_cast<int>(std::lrint(kLuma[c] * gd * 8192));
    fill_tables(grid);
    return grid;
}

// A place between cells: the first of the two, and the way to the second.
struct Between {
    int first;
    float way;
};

// Of the centre of pixel `at` of `length`, among `cells`: DESIGN.md's gx and gy, clamped.
Between between(int64_t at, int64_t length, int cells) {
    const double centred = (at + 0.5) * cells / static_cast<double>(length) - 0.5;
    const double clamped = std::min(std::max(centred, 0.0), cells - 1.0);
    const int first = std::min(static_cast<int>(clamped), std::max(cells - 2, 0));
    return {first, static_cast<float>(clamped - first)};
}

int fraction(float way) { return std::min(static_cast<int>(std::lrint(way * 32768.0f)), 32767); }

// -------------------------------------------------------------------------------------------- slicing

// Which pixels lie between the centres of which cells.
struct Columns {
    struct Segment {
        int cell;
        int64_t begin, end;
    };
    std::vector<Segment> segments;
    std::vector<int16_t> t;         // of every pixel, in 2^15ths
    std::vector<Between> between;   // the same in floats, for grids that do not fit

    Columns(const Grid& grid, int64_t width) : t(width + kPadding), between(width) {
        for (int64_t x = 0; x < width; ++x) {
            between[x] = ::between(x, width, grid.gw);
            t[x] = static_cast<int16_t>(fraction(between[x].way));
            if (segments.empty() || segments.back().cell != between[x].first)
                segments.push_back({between[x].first, x, x});
            segments.back().end = x + 1;
        }
    }
};

// What one thread works in.
struct Scratch {
    std::vector<int16_t> planes, tables, change;
    std::vector<float> vertices;
    Row in, out[2];

    Scratch(const Grid& grid, int64_t width)
        : planes(9 * (width + kPadding)),
          tables(grid.fits ? grid.row_numbers() + kPadding : 0),
          change(kCellTables * kDepths),
          vertices(grid.fits ? 0 : static_cast<size_t>(grid.gd) * grid.gw * 12) {
        int16_t* next = planes.data();
        for (Row* row : {&in, &out[0], &out[1]})
            for (int16_t*& plane : row->plane) {
                plane = next;
                next += width + kPadding;
            }
    }
    Scratch(const Scratch&) = delete;
    Scratch(Scratch&&) = default;
};

void slice_fixed(const Kernels& kernels, const Grid& grid, const Columns& columns, Between y, Scratch& s, const Row& out) {
    const size_t n = grid.row_numbers(), above = y.first * n;
    kernels.interpolate_row(grid.tables.data() + above, grid.down.data() + above, fraction(y.way), s.tables.data(), n);
    constexpr size_t cell = kCellTables * kDepths;
    for (const Columns::Segment& segment : columns.segments) {
        const int16_t* left = s.tables.data() + segment.cell * cell;
        kernels.change_of_tables(left, segment.cell + 1 < grid.gw ? left + cell : left, s.change.data());
        kernels.slice_segment(grid.scale, left, s.change.data(), columns.t.data(), s.in, out, segment.begin,
                              segment.end);
    }
}

// The obvious way, for grids that do not fit.
void slice_float(const Grid& grid, const Columns& columns, Between y, int64_t width, Scratch& s, const Row& out) {
    const int below = std::min(y.first + 1, grid.gh - 1);
    for (int z = 0; z < grid.gd; ++z)
        for (int i = 0; i < grid.gw * 12; ++i)
            s.vertices[static_cast<size_t>(z) * grid.gw * 12 + i] =
                grid.vertex(z, y.first, 0)[i] * (1 - y.way) + grid.vertex(z, below, 0)[i] * y.way;
    for (int64_t x = 0; x < width; ++x) {
        float rgb[3], guide = 0;
        for (int c = 0; c < 3; ++c) guide += kLuma[c] * (rgb[c] = s.in.plane[c][x] / 32767.0f);
        const float depth = std::min(std::max(guide * grid.gd - 0.5f, 0.0f), grid.gd - 1.0f);
        const int z = std::min(static_cast<int>(depth), std::max(grid.gd - 2, 0)), deeper = std::min(z + 1, grid.gd - 1);
        const int cell = columns.between[x].first, next = std::min(cell + 1, grid.gw - 1);
        const float f = depth - z, t = columns.between[x].way;
        const auto at = [&](int k, int i) { return s.vertices.data() + (static_cast<size_t>(k) * grid.gw + i) * 12; };
        const float *a = at(z, cell), *b = at(z, next), *c = at(deeper, cell), *d = at(deeper, next);
        for (int row = 0; row < 3; ++row) {
            float sum = 0;
            for (int i = 0; i < 4; ++i) {
                const int k = 4 * row + i;
                const float near = a[k] + t * (b[k] - a[k]), far = c[k] + t * (d[k] - c[k]);
                sum += (near + f * (far - near)) * (i < 3 ? rgb[i] : 1.0f);
            }
            const float clipped = std::min(std::max(0.0f, sum), 1.0f);  // in this order NaN becomes 0
            out.plane[row][x] = static_cast<int16_t>(clipped * 32767.0f + 0.5f);
        }
    }
}

// Slices the row in `s.in`, the y-th of the frame, to `out`.
void slice_row(const Kernels& kernels, const Grid& grid, const Columns& columns, int64_t y, int64_t height,
               Scratch& s, const Row& out) {
    const Between place = between(y, height, grid.gh);
    if (grid.fits) {
        slice_fixed(kernels, grid, columns, place, s, out);
    } else {
        slice_float(grid, columns, place, static_cast<int64_t>(columns.between.size()), s, out);
    }
}

// Calls work(part, scratch) for every part, spread over threads.
template <class Work>
void in_threads(const Grid& grid, int64_t width, int64_t parts, int threads, const Work& work) {
    const int64_t bands = std::min<int64_t>(threads, parts);
    // Every allocation happens here: an exception inside a thread would end the process.
    std::vector<Scratch> scratch;
    scratch.reserve(bands);
    for (int64_t band = 0; band < bands; ++band) scratch.emplace_back(grid, width);
    const auto run = [&](int64_t band) {
        const int64_t end = parts * (band + 1) / bands;
        for (int64_t part = parts * band / bands; part < end; ++part) work(part, scratch[band]);
    };
    std::vector<std::thread> workers;
    workers.reserve(bands);
    for (int64_t band = 1; band < bands; ++band) {
        try {
            workers.emplace_back(run, band);
        } catch (const std::system_error&) {  // the system gives no more threads
            run(band);
        }
    }
    run(0);
    for (std::thread& worker : workers) worker.join();
}

// Bytes in rows that need not follow one another at once. `out` may be `in`.
struct Plane {
    const uint8_t* in;
    uint8_t* out;
    int64_t in_stride, out_stride;

    const uint8_t* from(int64_t y) const { return in + y * in_stride; }
    uint8_t* to(int64_t y) const { return out + y * out_stride; }
};

void render_triples(const Kernels& kernels, const Grid& grid, const Plane& plane, int64_t height, int64_t width,
                    int threads) {
    const Columns columns(grid, width);
    in_threads(grid, width, height, threads, [&](int64_t y, Scratch& s) {
        kernels.load_triples(plane.from(y), s.in, width);
        slice_row(kernels, grid, columns, y, height, s, s.out[0]);
        kernels.store_triples(s.out[0], plane.to(y), width);
    });
}

// Of an odd number, the last pixel stands for the one that its chroma sample lacks.
void repeat_last(const Row& row, int64_t width) {
    if (width % 2)
        for (int16_t* plane : row.plane) plane[width] = plane[width - 1];
}

void render_planes(const Kernels& kernels, const Grid& grid, const YuvMatrix& m, const Plane planes[3], int64_t height,
                   int64_t width, int threads) {
    const Columns columns(grid, width);
    const int64_t samples = (width + 1) / 2;
    in_threads(grid, width, (height + 1) / 2, threads, [&](int64_t pair, Scratch& s) {
        const int64_t rows = std::min<int64_t>(2, height - 2 * pair);
        for (int64_t i = 0; i < rows; ++i) {
            const int64_t y = 2 * pair + i;
            kernels.load_yuv(m, planes[0].from(y), planes[1].from(pair), planes[2].from(pair), s.in, width);
            slice_row(kernels, grid, columns, y, height, s, s.out[i]);
            kernels.store_luma(m, s.out[i], planes[0].to(y), width);
            repeat_last(s.out[i], width);
        }
        kernels.store_chroma(m, s.out[0], s.out[rows - 1], planes[1].to(pair), planes[2].to(pair), samples);
    });
}

// From planes to triples: what a window shows needs no picture in between.
void render_planes_to_triples(const Kernels& kernels, const Grid& grid, const YuvMatrix& m, const Plane in[3],
                              const Plane& out, int64_t height, int64_t width, int threads) {
    const Columns columns(grid, width);
    in_threads(grid, width, height, threads, [&](int64_t y, Scratch& s) {
        kernels.load_yuv(m, in[0].from(y), in[1].from(y / 2), in[2].from(y / 2), s.in, width);
        slice_row(kernels, grid, columns, y, height, s, s.out[0]);
        kernels.store_triples(s.out[0], out.to(y), width);
    });
}

// H.273: Y' = kr R' + (1 - kr - kb) G' + kb B', Cb = (B' - Y') / (2 - 2 kb), Cr = (R' - Y') / (2 - 2 kr).
YuvMatrix make_matrix(double kr, double kb, bool full) {
    const double kg = 1 - kr - kb, range = full ? 255 : 219, chroma = full ? 255 : 224;
    const auto whole = [](double x) { return static_cast<int>(std::lrint(x)); };
    YuvMatrix m{};
    m.black = full ? 0 : 16;
    // To halves of colours (2^14), from luma in 128ths of a level and chroma in 256ths, by fractions of 2^15.
    const double of_luma = 32768.0 * 16384 / 128 / range, of_chroma = 32768.0 * 16384 / 256 / chroma;
    const double red = 2 - 2 * kr, blue = 2 - 2 * kb;
    m.grey = whole(of_luma);
    m.red_cr = whole(of_chroma * red);
    m.green_cb = whole(-of_chroma * kb * blue / kg);
    m.green_cr = whole(-of_chroma * kr * red / kg);
    m.blue_cb = whole(of_chroma * blue);
    // To levels in 128ths, from colours.
    const double weights[3] = {kr, kg, kb};
    for (int c = 0; c < 3; ++c) {
        m.luma[c] = whole(128 * range * weights[c]);
        m.cb[c] = whole(128 * chroma * ((c == 2) - weights[c]) / blue);
        m.cr[c] = whole(128 * chroma * ((c == 0) - weights[c]) / red);
    }
    return m;
}

// --------------------------------------------------------------------------------------------- Python

std::string shape_of(const py::array& array) { return py::str(array.attr("shape")); }

void check_bytes(const py::array& array, const char* name, int axes) {
    const char* expected = axes == 3 ? ", expected uint8 (H, W, 3)" : ", expected uint8 (H, W)";
    if (!py::isinstance<py::array_t<uint8_t>>(array) || array.ndim() != axes || (axes == 3 && array.shape(2) != 3))
        throw std::invalid_argument(std::string(name) + " has shape " + shape_of(array) + expected);
    for (int axis = 0; axis < 2; ++axis)
        if (array.shape(axis) < 1 || array.shape(axis) > std::numeric_limits<int32_t>::max())
            throw std::invalid_argument(std::string(name) + " has shape " + shape_of(array) + ", out of range");
    // The stride of an axis of one element says nothing.
    const py::ssize_t pixel = axes == 3 ? 3 : 1, row = array.shape(1) * pixel;
    const bool dense = (axes == 2 || array.strides(2) == 1) && (array.shape(1) == 1 || array.strides(1) == pixel);
    if (!dense || (array.shape(0) > 1 && array.strides(0) < row))
        throw std::invalid_argument(std::string(name) + " has rows that are not contiguous");
}

void check_grid(const py::array& grid) {
    bool good = py::isinstance<py::array_t<float>>(grid) && grid.ndim() == 4 && grid.shape(3) == 12;
    for (int axis = 0; good && axis < 3; ++axis) good = grid.shape(axis) >= 1 && grid.shape(axis) <= kMaxCells;
    if (!good)
        throw std::invalid_argument("grid has shape " + shape_of(grid) +
                                    ", expected float32 (gd, gh, gw, 12), axes 1 to " + std::to_string(kMaxCells));
    if (!(grid.flags() & py::array::c_style)) throw std::invalid_argument("grid is not contiguous");
}

// An input and where its result goes: clear of one another, or the same.
Plane check_pair(const py::array& in, py::array& out, int axes) {
    check_bytes(in, "image", axes);
    check_bytes(out, "out", axes);
    if (out.shape(0) != in.shape(0) || out.shape(1) != in.shape(1))
        throw std::invalid_argument("out has shape " + shape_of(out) + ", expected " + shape_of(in));
    if (!out.writeable()) throw std::invalid_argument("out is read-only");
    const auto from = reinterpret_cast<uintptr_t>(in.data()), to = reinterpret_cast<uintptr_t>(out.data());
    const auto span = [axes](const py::array& a) {
        return static_cast<uintptr_t>((a.shape(0) - 1) * a.strides(0) + a.shape(1) * (axes == 3 ? 3 : 1));
    };
    const bool same = from == to && in.strides(0) == out.strides(0);
    if (!same && from < to + span(out) && to < from + span(in))
        throw std::invalid_argument("out overlaps image without being the same");
    return {static_cast<const uint8_t*>(in.data()), static_cast<uint8_t*>(out.mutable_data()), in.strides(0),
            out.strides(0)};
}

void check_threads(int threads) {
    if (threads < 1 || threads > kMaxThreads)
        throw std::invalid_argument("threads is " + std::to_string(threads) + ", expected 1 to " +
                                    std::to_string(kMaxThreads));
}

Grid grid_of(const py::array& grid) {
    return prepare_grid(static_cast<const float*>(grid.data()), static_cast<int>(grid.shape(0)),
                        static_cast<int>(grid.shape(1)), static_cast<int>(grid.shape(2)));
}

void render(const py::array& grid, const py::array& image, py::array out, int threads, const std::string& path) {
    check_grid(grid);
    const Plane plane = check_pair(image, out, 3);
    check_threads(threads);
    const Kernels& kernels = choose_kernels(path);
    const int64_t height = image.shape(0), width = image.shape(1);
    py::gil_scoped_release unlocked;
    render_triples(kernels, grid_of(grid), plane, height, width, threads);
}

using Planes = std::array<py::array, 3>;

void check_yuv(const Planes& planes, double kr, double kb) {
    for (int i = 1; i < 3; ++i)
        if (planes[i].shape(0) != (planes[0].shape(0) + 1) / 2 || planes[i].shape(1) != (planes[0].shape(1) + 1) / 2)
            throw std::invalid_argument("chroma has shape " + shape_of(planes[i]) + ", expected half of " +
                                        shape_of(planes[0]));
    if (!(kr > 0.05 && kb > 0.05 && kr + kb < 0.95)) throw std::invalid_argument("kr and kb are no luma weights");
}

void render_yuv(const py::array& grid, const Planes& in, Planes out, double kr, double kb, bool full, int threads,
                const std::string& path) {
    check_grid(grid);
    Plane planes[3];
    for (int i = 0; i < 3; ++i) planes[i] = check_pair(in[i], out[i], 2);
    check_threads(threads);
    check_yuv(in, kr, kb);
    const int64_t height = in[0].shape(0), width = in[0].shape(1);
    const Kernels& kernels = choose_kernels(path);
    py::gil_scoped_release unlocked;
    render_planes(kernels, grid_of(grid), make_matrix(kr, kb, full), planes, height, width, threads);
}

void render_yuv_to_rgb(const py::array& grid, const Planes& in, py::array out, double kr, double kb, bool full,
                       int threads, const std::string& path) {
    check_grid(grid);
    for (const py::array& plane : in) check_bytes(plane, "image", 2);
    check_bytes(out, "out", 3);
    if (out.shape(0) != in[0].shape(0) || out.shape(1) != in[0].shape(1))
        throw std::invalid_argument("out has shape " + shape_of(out) + ", expected the size of " + shape_of(in[0]));
    if (!out.writeable()) throw std::invalid_argument("out is read-only");
    check_threads(threads);
    check_yuv(in, kr, kb);
    Plane planes[3];
    for (int i = 0; i < 3; ++i) planes[i] = {static_cast<const uint8_t*>(in[i].data()), nullptr, in[i].strides(0), 0};
    const Plane target{nullptr, static_cast<uint8_t*>(out.mutable_data()), 0, out.strides(0)};
    const int64_t height = in[0].shape(0), width = in[0].shape(1);
    const Kernels& kernels = choose_kernels(path);
    py::gil_scoped_release unlocked;
    render_planes_to_triples(kernels, grid_of(grid), make_matrix(kr, kb, full), planes, target, height, width, threads);
}

std::vector<std::string> paths() {
    std::vector<std::string> names;
    for (const Kernels* kernels : kernels_here()) names.emplace_back(kernels->name);
    return names;
}

}  // namespace

PYBIND11_MODULE(_render, module) {
    module.doc() = "Slices 8-bit frames through bilateral grids. Called through hueglass.infer.grid.cpu.native.";
    module.attr("MAX_THREADS") = kMaxThreads;
    module.attr("PATHS") = paths();
    module.def("render", &render, py::arg("grid"), py::arg("image"), py::arg("out"), py::arg("threads") = 1,
               py::arg("path") = "",
               "Renders image (H, W, 3) uint8 sRGB through grid (gd, gh, gw, 12) float32 into out, which may be\n"
               "the image. `path` is one of PATHS, the first by default. ValueError: wrong arguments.");
    module.def("render_yuv", &render_yuv, py::arg("grid"), py::arg("planes"), py::arg("out"), py::arg("kr"),
               py::arg("kb"), py::arg("full"), py::arg("threads") = 1, py::arg("path") = "",
               "The same for planes Y' (H, W), Cb and Cr (half of it, rounded up), uint8, of luma weights kr and kb,\n"
               "in the full range 0 to 255 or the limited one.");
    module.def("render_yuv_to_rgb", &render_yuv_to_rgb, py::arg("grid"), py::arg("planes"), py::arg("out"),
               py::arg("kr"), py::arg("kb"), py::arg("full"), py::arg("threads") = 1, py::arg("path") = "",
               "The same planes into out (H, W, 3) uint8 sRGB, which is clear of them.");
}
