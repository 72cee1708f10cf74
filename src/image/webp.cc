// WebP through libwebp, as Pillow: the first frame of an animation, alpha dropped. Optional at build time.
#include <memory>

#include "image/decoders.h"

#ifdef FERRY_HAVE_WEBP
#include <webp/decode.h>
#include <webp/demux.h>

namespace ferry {

bool webp_available() noexcept { return true; }

void decode_webp(const DecodeJob& job, ImageU8& into) {
  const auto* const bytes = reinterpret_cast<const std::uint8_t*>(job.bytes.data());
  WebPBitstreamFeatures features;
  if (WebPGetFeatures(bytes, job.bytes.size(), &features) != VP8_STATUS_OK)
    refuse_image(job, "WebP", "the header is damaged or the file is truncated");
  allocate_image(job, features.width, features.height, into);  // the limit, before the decoder allocates its canvas

  WebPAnimDecoderOptions options;
  if (!WebPAnimDecoderOptionsInit(&options)) refuse_image(job, "WebP", "libwebp has another version");
  options.color_mode = MODE_RGBA;
  const WebPData data{bytes, job.bytes.size()};
  const std::unique_ptr<WebPAnimDecoder, void (*)(WebPAnimDecoder*)> decoder(WebPAnimDecoderNew(&data, &options),
                                                                             WebPAnimDecoderDelete);
  std::uint8_t* frame = nullptr;
  int timestamp = 0;
  WebPAnimInfo info;
  if (!decoder || !WebPAnimDecoderGetInfo(decoder.get(), &info) ||
      !WebPAnimDecoderGetNext(decoder.get(), &frame, &timestamp))
    refuse_image(job, "WebP", "the picture is damaged or the file is truncated");
  allocate_image(job, info.canvas_width, info.canvas_height, into);
  const std::size_t count = into.pixels.size() / 3;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t c = 0; c < 3; ++c) into.pixels[3 * i + c] = frame[4 * i + c];
}

}  // namespace ferry
#else
namespace ferry {

bool webp_available() noexcept { return false; }
void decode_webp(const DecodeJob& job, ImageU8&) {
  refuse_image(job, "WebP", "this ferry was built without libwebp; install libwebp-dev and build again");
}

}  // namespace ferry
#endif
