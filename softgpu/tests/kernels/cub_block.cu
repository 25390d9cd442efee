// CUB's block and warp collectives as applications use them: reduce, scan, radix sort, load/store with transpose,
// warp reduce and scan, histogram, discontinuity, exchange.
#include <cub/cub.cuh>
#include <stdint.h>

constexpr int THREADS = 128, ITEMS = 5;

extern "C" __global__ void cub_block_reduce(float* out, const float* in, int n) {
    using Reduce = cub::BlockReduce<float, THREADS>;
    __shared__ typename Reduce::TempStorage temp;
    int i = blockIdx.x * THREADS + threadIdx.x;
    float v = i < n ? in[i] : 0.f, sum = Reduce(temp).Sum(v);
    __syncthreads();
    float top = Reduce(temp).Reduce(v, cuda::maximum<>{});
    if (threadIdx.x == 0) { out[2 * blockIdx.x] = sum; out[2 * blockIdx.x + 1] = top; }
}

extern "C" __global__ void cub_block_reduce_raking(long long* out, const int* in) {
    using Reduce = cub::BlockReduce<long long, THREADS, cub::BLOCK_REDUCE_RAKING>;
    __shared__ typename Reduce::TempStorage temp;
    long long sum = Reduce(temp).Sum(in[blockIdx.x * THREADS + threadIdx.x]);
    if (threadIdx.x == 0) out[blockIdx.x] = sum;
}

extern "C" __global__ void cub_block_scan(int* out, int* total, const int* in) {
    using Load = cub::BlockLoad<int, THREADS, ITEMS, cub::BLOCK_LOAD_WARP_TRANSPOSE>;
    using Store = cub::BlockStore<int, THREADS, ITEMS, cub::BLOCK_STORE_TRANSPOSE>;
    using Scan = cub::BlockScan<int, THREADS>;
    __shared__ union {
        typename Load::TempStorage load;
        typename Store::TempStorage store;
        typename Scan::TempStorage scan;
    } temp;
    int items[ITEMS], sum, base = blockIdx.x * THREADS * ITEMS;
    Load(temp.load).Load(in + base, items);
    __syncthreads();
    Scan(temp.scan).ExclusiveSum(items, items, sum);
    __syncthreads();
    Store(temp.store).Store(out + base, items);
    if (threadIdx.x == 0) total[blockIdx.x] = sum;
}

extern "C" __global__ void cub_block_scan_max(double* out, const double* in) {
    using Scan = cub::BlockScan<double, THREADS, cub::BLOCK_SCAN_WARP_SCANS>;
    __shared__ typename Scan::TempStorage temp;
    double v = in[threadIdx.x];
    Scan(temp).InclusiveScan(v, v, cuda::maximum<>{});
    out[threadIdx.x] = v;
}

extern "C" __global__ void cub_radix_sort(uint32_t* keys, uint16_t* values) {
    using Sort = cub::BlockRadixSort<uint32_t, THREADS, ITEMS, uint16_t>;
    __shared__ typename Sort::TempStorage temp;
    uint32_t k[ITEMS];
    uint16_t v[ITEMS];
    int base = (blockIdx.x * THREADS + threadIdx.x) * ITEMS;
    for (int j = 0; j < ITEMS; ++j) { k[j] = keys[base + j]; v[j] = values[base + j]; }
    Sort(temp).Sort(k, v);
    for (int j = 0; j < ITEMS; ++j) { keys[base + j] = k[j]; values[base + j] = v[j]; }
}

extern "C" __global__ void cub_radix_sort_float(float* keys) {
    using Sort = cub::BlockRadixSort<float, THREADS, 3>;
    __shared__ typename Sort::TempStorage temp;
    float k[3];
    for (int j = 0; j < 3; ++j) k[j] = keys[threadIdx.x * 3 + j];
    Sort(temp).SortDescendingBlockedToStriped(k);
    for (int j = 0; j < 3; ++j) keys[threadIdx.x + j * THREADS] = k[j];
}

extern "C" __global__ void cub_warp(int* sums, int* scans, int* heads, const int* in, const int* flags) {
    using Reduce = cub::WarpReduce<int>;
    using Reduce16 = cub::WarpReduce<int, 16>;
    using Scan = cub::WarpScan<int>;
    __shared__ typename Reduce::TempStorage temp[THREADS / 32];
    __shared__ typename Reduce16::TempStorage temp16[THREADS / 16];
    __shared__ typename Scan::TempStorage scan[THREADS / 32];
    int t = threadIdx.x, w = t / 32, v = in[t];
    int sum = Reduce(temp[w]).Sum(v), sum16 = Reduce16(temp16[t / 16]).Reduce(v, cuda::minimum<>{});
    int segment = Reduce(temp[w]).HeadSegmentedSum(v, flags[t]), inclusive;
    Scan(scan[w]).InclusiveSum(v, inclusive);
    if (t % 32 == 0) sums[w] = sum;
    if (t % 16 == 0) sums[THREADS / 32 + t / 16] = sum16;
    scans[t] = inclusive;
    heads[t] = flags[t] ? segment : 0;
}

extern "C" __global__ void cub_histogram(unsigned* out, const unsigned char* in) {
    using Histogram = cub::BlockHistogram<unsigned char, THREADS, 4, 256, cub::BLOCK_HISTO_ATOMIC>;
    __shared__ typename Histogram::TempStorage temp;
    __shared__ unsigned bins[256];
    unsigned char v[4];
    for (int j = 0; j < 4; ++j) v[j] = in[(blockIdx.x * THREADS + threadIdx.x) * 4 + j];
    Histogram(temp).Histogram(v, bins);
    __syncthreads();
    for (int b = threadIdx.x; b < 256; b += THREADS) atomicAdd(out + b, bins[b]);
}

// Stream compaction: flags by discontinuity, positions by scan.
extern "C" __global__ void cub_unique(int* out, int* count, const int* in) {
    using Flag = cub::BlockDiscontinuity<int, THREADS>;
    using Scan = cub::BlockScan<int, THREADS>;
    __shared__ union { typename Flag::TempStorage flag; typename Scan::TempStorage scan; } temp;
    int item[1] = {in[threadIdx.x]}, flag[1], at, total;
    Flag(temp.flag).FlagHeads(flag, item, cuda::std::not_equal_to<>{});
    __syncthreads();
    Scan(temp.scan).ExclusiveSum(flag[0], at, total);
    if (flag[0]) out[at] = item[0];
    if (threadIdx.x == 0) *count = total;
}

extern "C" __global__ void cub_merge_sort(int* keys) {
    using Sort = cub::BlockMergeSort<int, THREADS, 2>;
    __shared__ typename Sort::TempStorage temp;
    int k[2] = {keys[2 * threadIdx.x], keys[2 * threadIdx.x + 1]};
    Sort(temp).Sort(k, cuda::std::less<>{});
    keys[2 * threadIdx.x] = k[0];
    keys[2 * threadIdx.x + 1] = k[1];
}

// Argmax by a struct: shuffles of a 16-byte value inside CUB.
struct Best { double value; int index; };
extern "C" __global__ void cub_argmax(double* value, int* index, const double* in, int n) {
    using Reduce = cub::BlockReduce<Best, THREADS>;
    __shared__ typename Reduce::TempStorage temp;
    Best best = {-1e300, -1};
    for (int i = threadIdx.x; i < n; i += THREADS)
        if (in[i] > best.value) best = {in[i], i};
    best = Reduce(temp).Reduce(
        best, [](Best a, Best b) { return b.value > a.value || (b.value == a.value && b.index < a.index) ? b : a; });
    if (threadIdx.x == 0) { *value = best.value; *index = best.index; }
}
