// Slices 8-bit frames through bilateral grids (gd, gh, gw, 12) on the GPU, as infer/grid/bilateral.py and infer/grid/yuv.py
// define it: sRGB (H, W, 3), or Y'CbCr 4:2:0 in three planes or two (NV12). Compiled when first used, by cuda.py.
//
// A block renders one row of a frame; of Y'CbCr a pair of rows, which share their chroma. A row lies at one height of
// the grid, so that its block interpolates the grid along y first, once, into a table in shared memory. Each pixel then
// interpolates along x and depth, between four vertices of the table.
//
// A vertex is a 3x4 matrix, three float4. The table is (gw, gd, 3): the depths of a column follow one another, 48 bytes
// apart. Pixels that run together lie between the same columns, at depths of their own; up to eight depths 48 bytes
// apart are in different banks of shared memory, so that they are read at once.
//
// Why no texture, though the grid is one: the hardware's linear filter has 8 bits for its weights, and a steep grid
// takes more to be within a level of the reference.

using byte = unsigned char;
constexpr float kLevel = 1 / 255.0f;

// `numbers` are (frames, gd, gh, gw, 12).
struct Grid {
    const float* numbers;
    int gd, gh, gw;
};

// Bytes of all frames: from row to row it is `pitch`, from frame to frame `frame` bytes.
struct Plane {
    byte* at;
    long long pitch, frame;

    __device__ byte* row(int n, int y) const { return at + n * frame + y * pitch; }
};

// Of the `height` rows of a whole frame these are `rows`, from `first_row` on: frames that the device's memory does not
// hold come in parts.
struct Size {
    int width, rows, first_row, height;
};

struct Colour {
    float r, g, b;
};

// A place between cells: the two, and the way from the first to the second.
struct Between {
    int first, second;
    float way;
};

// `position` is in cells, whose centres are at k + .5; clamped at the borders.
__device__ Between between(float position, int cells) {
    const float centred = fminf(fmaxf(position - 0.5f, 0.0f), cells - 1.0f);
    const int first = min(static_cast<int>(centred), max(cells - 2, 0));
    return {first, min(first + 1, cells - 1), centred - first};
}

__device__ Between place_of(int pixel, int pixels, int cells) {
    return between((pixel + 0.5f) * cells / pixels, cells);
}

__device__ float mix(float a, float b, float way) { return a + way * (b - a); }

__device__ float4 mix(float4 a, float4 b, float way) {
    return {mix(a.x, b.x, way), mix(a.y, b.y, way), mix(a.z, b.z, way), mix(a.w, b.w, way)};
}

// In this order NaN, which a broken grid may hold, becomes 0.
__device__ float clipped(float value, float most) { return fminf(fmaxf(value, 0.0f), most); }

__device__ Colour clipped(Colour c) { return {clipped(c.r, 1), clipped(c.g, 1), clipped(c.b, 1)}; }

__device__ byte to_byte(float level) { return static_cast<byte>(clipped(level, 255) + 0.5f); }

// float4 in a table: of one row of pixels.
__device__ int table_size(const Grid& grid) { return 3 * grid.gw * grid.gd; }

// The table of row y of frame n, made by all threads of a block. Threads beside one another read numbers of the grid
// beside one another, which lie (gd, gh, gw, 12).
__device__ void fill_table(float4* table, const Grid& grid, int n, int y, int height) {
    const Between place = place_of(y, height, grid.gh);
    const int line = 12 * grid.gw;
    const float* numbers = grid.numbers + static_cast<long long>(n) * grid.gd * grid.gh * line;
    float* filled = reinterpret_cast<float*>(table);
    for (int i = threadIdx.x; i < grid.gd * line; i += blockDim.x) {
        const int z = i / line, x = i % line / 12, k = i % 12;
        const float above = numbers[(z * grid.gh + place.first) * line + i % line];
        const float below = numbers[(z * grid.gh + place.second) * line + i % line];
        filled[(x * grid.gd + z) * 12 + k] = mix(above, below, place.way);
    }
}

__device__ float times(float4 row, Colour c) { return row.x * c.r + row.y * c.g + row.z * c.b + row.w; }

// A colour in [0, 1] through the matrix of its place, clipped. The guide is luma, which needs no clipping of its own:
// its place among the depths is clamped.
__device__ Colour sliced(const float4* table, const Grid& grid, Between x, Colour colour) {
    const float guide = 0.299f * colour.r + 0.587f * colour.g + 0.114f * colour.b;
    const Between z = between(guide * grid.gd, grid.gd);
    const float4* left = table + 3 * grid.gd * x.first;
    const float4* right = table + 3 * grid.gd * x.second;
    float sum[3];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
        const float4 here = mix(left[3 * z.first + i], right[3 * z.first + i], x.way);
        const float4 deeper = mix(left[3 * z.second + i], right[3 * z.second + i], x.way);
        sum[i] = times(mix(here, deeper, z.way), colour);
    }
    return clipped({sum[0], sum[1], sum[2]});
}

// ------------------------------------------------------------------------------------------------ RGB

// Four pixels in the registers of a thread. All indices are known when loops are unrolled, so that none goes to memory.
struct FourPixels {
    unsigned words[3] = {};

    __device__ int get(int i) const { return words[i / 4] >> (8 * (i % 4)) & 255; }
    __device__ void put(int i, byte value) { words[i / 4] |= static_cast<unsigned>(value) << (8 * (i % 4)); }
};

// Whether four pixels can be read or written as three words: all of them are there, and begin on a whole one.
__device__ bool in_words(const byte* at, int count) {
    return count == 4 && reinterpret_cast<unsigned long long>(at) % sizeof(unsigned) == 0;
}

__device__ FourPixels load_pixels(const byte* from, int count) {
    FourPixels pixels;
    if (in_words(from, count)) {
#pragma unroll
        for (int i = 0; i < 3; ++i) pixels.words[i] = reinterpret_cast<const unsigned*>(from)[i];
    } else {
#pragma unroll
        for (int i = 0; i < 12; ++i)
            if (i < 3 * count) pixels.put(i, from[i]);
    }
    return pixels;
}

__device__ void store_pixels(const FourPixels& pixels, byte* to, int count) {
    if (in_words(to, count)) {
#pragma unroll
        for (int i = 0; i < 3; ++i) reinterpret_cast<unsigned*>(to)[i] = pixels.words[i];
    } else {
#pragma unroll
        for (int i = 0; i < 12; ++i)
            if (i < 3 * count) to[i] = static_cast<byte>(pixels.get(i));
    }
}

// Pixels of three bytes: red, green, blue. Blocks are (rows, frames), shared memory holds one table. `out` may be `in`: a thread reads its pixels before it writes them, and no one else's.
extern "C" __global__ void render_rgb(Grid grid, Plane in, Plane out, Size size) {
    extern __shared__ float4 table[];
    const int n = blockIdx.y, y = blockIdx.x;
    fill_table(table, grid, n, size.first_row + y, size.height);
    __syncthreads();
    for (int x = 4 * threadIdx.x; x < size.width; x += 4 * blockDim.x) {
        const int count = min(4, size.width - x);
        const FourPixels before = load_pixels(in.row(n, y) + 3LL * x, count);
        FourPixels after;
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const float a = before.get(3 * i) * kLevel, b = before.get(3 * i + 1) * kLevel;
            const float c = before.get(3 * i + 2) * kLevel;
            const Colour result = sliced(table, grid, place_of(x + i, size.width, grid.gw), {a, b, c});
            after.put(3 * i, to_byte(255 * result.r));
            after.put(3 * i + 1, to_byte(255 * result.g));
            after.put(3 * i + 2, to_byte(255 * result.b));
        }
        store_pixels(after, out.row(n, y) + 3LL * x, count);
    }
}

// --------------------------------------------------------------------------------------------- Y'CbCr

// H.273: Y' = kr R' + kg G' + kb B', Cb = (B' - Y') / blue, Cr = (R' - Y') / red; `black`, `luma` and `chroma` are
// levels: of black, and from the least to the most.
struct Matrix {
    float kr, kg, kb, red, blue, black, luma, chroma;
};

__device__ Matrix matrix_of(float kr, float kb, bool full) {
    return {kr, 1 - kr - kb, kb, 2 - 2 * kr, 2 - 2 * kb, full ? 0.0f : 16.0f, full ? 255.0f : 219.0f,
            full ? 255.0f : 224.0f};
}

__device__ Colour to_rgb(const Matrix& m, float y, float cb, float cr) {
    const float grey = (y - m.black) / m.luma;
    const float blue = m.blue * (cb - 128) / m.chroma, red = m.red * (cr - 128) / m.chroma;
    return clipped({grey + red, grey - (m.kr * red + m.kb * blue) / m.kg, grey + blue});
}

__device__ float grey_of(const Matrix& m, Colour c) { return m.kr * c.r + m.kg * c.g + m.kb * c.b; }

// Planes of Y' and, with half as many rows and columns (rounded up), of Cb and Cr. Blocks are (pairs of rows, frames),
// shared memory holds two tables.
//
// A thread takes squares of four pixels and one sample of chroma. It reads and writes single bytes: those of
// neighbouring threads lie side by side, and are few beside what is read of the table. Where an odd number of rows or
// columns leaves half a square, its pixels stand for the missing ones. Outputs may be their inputs: a thread reads its
// square before it writes.
extern "C" __global__ void render_yuv(Grid grid, Plane luma, Plane cb, Plane cr, Plane luma_out, Plane cb_out,
                                      Plane cr_out, Size size, float kr, float kb, int full) {
    extern __shared__ float4 table[];
    const int n = blockIdx.y, pair = blockIdx.x;
    const int rows[2] = {2 * pair, min(2 * pair + 1, size.rows - 1)};
    for (int i = 0; i < 2; ++i)
        fill_table(table + i * table_size(grid), grid, n, size.first_row + rows[i], size.height);
    __syncthreads();
    const Matrix m = matrix_of(kr, kb, full);
    for (int s = threadIdx.x; s < (size.width + 1) / 2; s += blockDim.x) {
        const int columns[2] = {2 * s, min(2 * s + 1, size.width - 1)};
        const float blue = cb.row(n, pair)[s], red = cr.row(n, pair)[s];
        float grey[4];
#pragma unroll
        for (int i = 0; i < 4; ++i) grey[i] = luma.row(n, rows[i / 2])[columns[i % 2]];
        Colour mean = {0, 0, 0};
#pragma unroll
        for (int i = 0; i < 4; ++i) {
            const Between x = place_of(columns[i % 2], size.width, grid.gw);
            const float4* table_of_row = table + i / 2 * table_size(grid);
            const Colour colour = sliced(table_of_row, grid, x, to_rgb(m, grey[i], blue, red));
            luma_out.row(n, rows[i / 2])[columns[i % 2]] = to_byte(m.black + m.luma * grey_of(m, colour));
            mean = {mean.r + colour.r / 4, mean.g + colour.g / 4, mean.b + colour.b / 4};
        }
        const float of_mean = grey_of(m, mean);
        cb_out.row(n, pair)[s] = to_byte(128 + m.chroma * (mean.b - of_mean) / m.blue);
        cr_out.row(n, pair)[s] = to_byte(128 + m.chroma * (mean.r - of_mean) / m.red);
    }
}

// ------------------------------------------------------------------------------------------ thumbnails

// Frames of three bytes a pixel, averaged to size x size: each pixel of the thumbnail is the mean over its area, of
// which pixels on the border are part as far as they lie in it. Blocks are (rows of the thumbnail, frames).
extern "C" __global__ void thumbnail(Plane in, Plane out, int width, int height, int size) {
    const int n = blockIdx.y, y = blockIdx.x;
    const float top = static_cast<float>(y) * height / size, bottom = static_cast<float>(y + 1) * height / size;
    for (int x = threadIdx.x; x < size; x += blockDim.x) {
        const float left = static_cast<float>(x) * width / size, right = static_cast<float>(x + 1) * width / size;
        Colour sum = {0, 0, 0};
        float area = 0;
        for (int row = static_cast<int>(top); row < min(height, static_cast<int>(ceilf(bottom))); ++row) {
            const float tall = fminf(bottom, row + 1.0f) - fmaxf(top, static_cast<float>(row));
            const byte* pixels = in.row(n, row);
            for (int column = static_cast<int>(left); column < min(width, static_cast<int>(ceilf(right))); ++column) {
                const float part = tall * (fminf(right, column + 1.0f) - fmaxf(left, static_cast<float>(column)));
                const byte* pixel = pixels + 3LL * column;
                sum = {sum.r + part * pixel[0], sum.g + part * pixel[1], sum.b + part * pixel[2]};
                area += part;
            }
        }
        byte* to = out.row(n, y) + 3LL * x;
        to[0] = to_byte(sum.r / area);
        to[1] = to_byte(sum.g / area);
        to[2] = to_byte(sum.b / area);
    }
}
