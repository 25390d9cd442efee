// Three of the four bytes of each pixel are set, and the word is read.
// run: grid 1 block 32 args new:128 zeros:128
extern "C" __global__ void initcheck_bytes_of_a_word(unsigned char* pixels, unsigned* out) {
    for (int c = 0; c < 3; c++) pixels[4 * threadIdx.x + c] = 255;
    out[threadIdx.x] = reinterpret_cast<unsigned*>(pixels)[threadIdx.x];
}

extern "C" __global__ void initcheck_bytes_of_a_word_fixed(unsigned char* pixels, unsigned* out) {
    for (int c = 0; c < 4; c++) pixels[4 * threadIdx.x + c] = 255;
    out[threadIdx.x] = reinterpret_cast<unsigned*>(pixels)[threadIdx.x];
}
