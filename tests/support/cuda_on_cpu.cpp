// What CUDA gives to a kernel, on a CPU: infer/grid/cuda/render.cu as it is in a shared library for fake_cupy.py.
//
// Each thread of a block is a thread of the system, __syncthreads a barrier among them. Blocks run one after the other,
// which makes shared memory a global array. It is filled with NaN before every block, so that a kernel that relies on
// what it has not written is seen in the picture.

#include <pthread.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <thread>
#include <tuple>
#include <vector>

#define __global__
#define __device__
#define __shared__  // "extern __shared__ float4 table[]" is then the array below

using std::max;
using std::min;

struct alignas(16) float4 {
    float x, y, z, w;
};

struct dim3 {
    unsigned x, y, z;
};

thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

constexpr unsigned kSharedBytes = 48 * 1024;
constexpr unsigned kGuardBytes = 1024;  // behind what a launch asks for: must be left alone
float4 table[(kSharedBytes + kGuardBytes) / sizeof(float4)];

pthread_barrier_t block_barrier;  // rather than std::barrier, which spins for a while: many threads share few cores
void __syncthreads() { pthread_barrier_wait(&block_barrier); }

#include "../../infer/grid/cuda/render.cu"

// Runs `kernel` as cuLaunchKernel would. Returns whether it left alone what is behind its shared memory.
template <class... Arguments>
bool launch(void (*kernel)(Arguments...), dim3 grid, dim3 block, unsigned shared, void** arguments) {
    const std::tuple<Arguments...> given{*static_cast<Arguments*>(*arguments++)...};
    bool kept = true;
    const auto run = [&](unsigned thread) {
        threadIdx = {thread, 0, 0}, blockDim = block, gridDim = grid;
        for (unsigned i = 0; i < grid.x * grid.y; ++i) {
            blockIdx = {i % grid.x, i / grid.x, 0};
            if (thread == 0) std::memset(table, 0xff, sizeof table);  // as floats: NaN
            __syncthreads();
            std::apply(kernel, given);
            __syncthreads();
            const auto* guard = reinterpret_cast<const unsigned char*>(table) + shared;
            const auto untouched = [](unsigned char byte) { return byte == 0xff; };
            if (thread == 0) kept = kept && std::all_of(guard, guard + kGuardBytes, untouched);
        }
    };
    pthread_barrier_init(&block_barrier, nullptr, block.x);
    std::vector<std::thread> threads;
    for (unsigned thread = 0; thread < block.x; ++thread) threads.emplace_back(run, thread);
    for (auto& each : threads) each.join();
    pthread_barrier_destroy(&block_barrier);
    return kept;
}

// `arguments` points to each of the kernel's. 0: it is not there, asks for too much, or wrote where it must not.
extern "C" int launch_kernel(const char* name, const unsigned* grid, unsigned threads, unsigned shared,
                             void** arguments) {
    if (shared > kSharedBytes || threads == 0 || threads > 1024) return 0;
    const dim3 blocks = {grid[0], grid[1], 1}, block = {threads, 1, 1};
    if (!std::strcmp(name, "render_rgb")) return launch(render_rgb, blocks, block, shared, arguments);
    if (!std::strcmp(name, "render_yuv")) return launch(render_yuv, blocks, block, shared, arguments);
    if (!std::strcmp(name, "thumbnail")) return launch(thumbnail, blocks, block, shared, arguments);
    return 0;
}
