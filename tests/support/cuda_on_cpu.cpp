// The kernels of infer/grid/cuda/render.cu in a shared library that tests/support/fake_cupy.py calls.

#include "cuda_on_cpu.h"

#include "../../infer/grid/cuda/render.cu"

// `arguments` points to each of the kernel's arguments, as for cuLaunchKernel. 0: done, 1: no kernel of this name,
// 2: more threads or shared memory than there are, 3: the kernel wrote behind the shared memory that it asked for.
extern "C" int launch_kernel(const char* name, const unsigned* grid, unsigned threads, unsigned shared,
                             void** arguments) {
    if (shared > kSharedBytes || threads == 0 || threads > 1024) return 2;
    const dim3 blocks = {grid[0], grid[1], 1}, block = {threads, 1, 1};
    bool kept = true;
    if (std::strcmp(name, "render_rgb") == 0) {
        kept = launch(render_rgb, blocks, block, shared, arguments);
    } else if (std::strcmp(name, "render_yuv") == 0) {
        kept = launch(render_yuv, blocks, block, shared, arguments);
    } else if (std::strcmp(name, "thumbnail") == 0) {
        kept = launch(thumbnail, blocks, block, shared, arguments);
    } else {
        return 1;
    }
    return kept ? 0 : 3;
}
