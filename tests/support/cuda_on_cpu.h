// What CUDA gives to a kernel, on a CPU: enough of it to compile infer/grid/cuda/render.cu with g++ and C++20, as it is.
//
// Each thread of a block is a thread of the system, __syncthreads a barrier among them. Blocks run one after the other,
// which makes shared memory a global array; `launch` fills it with NaN before every block, so that a kernel that relies
// on what it has not written is seen in the picture.
#pragma once

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#define __global__
#define __device__
#define __shared__  // "extern __shared__ float4 table[]" is then the array below

struct alignas(16) float4 {
    float x, y, z, w;
};

struct dim3 {
    unsigned x, y, z;
};

using std::max;
using std::min;

inline thread_local dim3 threadIdx, blockIdx, blockDim, gridDim;

constexpr unsigned kSharedBytes = 48 * 1024;
constexpr unsigned kGuardBytes = 1024;  // behind what a launch asks for: must be left alone
float4 table[(kSharedBytes + kGuardBytes) / sizeof(float4)];

// Plain rather than std::barrier, which spins for a while: here many threads share few cores.
class Barrier {
  public:
    explicit Barrier(unsigned threads) : threads_(threads) {}

    void wait() {
        std::unique_lock lock(mutex_);
        const unsigned long long round = round_;
        if (++waiting_ == threads_) {
            waiting_ = 0;
            ++round_;
            all_here_.notify_all();
        } else {
            all_here_.wait(lock, [&] { return round != round_; });
        }
    }

  private:
    std::mutex mutex_;
    std::condition_variable all_here_;
    unsigned threads_, waiting_ = 0;
    unsigned long long round_ = 0;
};

inline Barrier* block_barrier = nullptr;
inline void __syncthreads() { block_barrier->wait(); }

// Runs `kernel` as cuLaunchKernel would, with `arguments` pointing to one each. Returns whether it kept to the shared
// memory that it was given.
template <class... Arguments>
bool launch(void (*kernel)(Arguments...), dim3 grid, dim3 block, unsigned shared, void** arguments) {
    const auto call = [&]<size_t... I>(std::index_sequence<I...>) {
        kernel(*static_cast<Arguments*>(arguments[I])...);
    };
    Barrier barrier(block.x);
    block_barrier = &barrier;
    bool kept = true;
    const auto run = [&](unsigned thread) {
        threadIdx = {thread, 0, 0}, blockDim = block, gridDim = grid;
        for (unsigned y = 0; y < grid.y; ++y)
            for (unsigned x = 0; x < grid.x; ++x) {
                blockIdx = {x, y, 0};
                if (thread == 0) std::memset(table, 0xff, sizeof table);  // as floats: NaN
                __syncthreads();
                call(std::index_sequence_for<Arguments...>());
                __syncthreads();
                const auto* guard = reinterpret_cast<const unsigned char*>(table) + shared;
                const auto untouched = [](unsigned char byte) { return byte == 0xff; };
                if (thread == 0) kept = kept && std::all_of(guard, guard + kGuardBytes, untouched);
            }
    };
    std::vector<std::jthread> threads;
    for (unsigned thread = 0; thread < block.x; ++thread) threads.emplace_back(run, thread);
    threads.clear();
    return kept;
}
