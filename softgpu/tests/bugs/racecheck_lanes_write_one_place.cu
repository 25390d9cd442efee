// All lanes write their own number to one word; which stays?
// run: grid 1 block 32 args zeros:4
extern "C" __global__ void racecheck_lanes_write_one_place(int* winner) {
    *winner = threadIdx.x;
}

extern "C" __global__ void racecheck_lanes_write_one_place_fixed(int* winner) {
    *winner = 31;
}
