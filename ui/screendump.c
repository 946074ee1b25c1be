/* screendump: a console's picture as a PNG or PPM file. */
#include "ui/ui_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#if HAVE_PNG
#include <png.h>
#include <setjmp.h>
#endif

static bool write_ppm(FILE *f, int w, int h, const uint8_t *rgb)
{
    return fprintf(f, "P6\n%d %d\n255\n", w, h) > 0 && fwrite(rgb, (size_t)w * 3, h, f) == (size_t)h;
}

#if HAVE_PNG
static bool write_png(FILE *f, int w, int h, const uint8_t *rgb)
{
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png ? png_create_info_struct(png) : NULL;

    if (!info || setjmp(png_jmpbuf(png))) {
        png_destroy_write_struct(&png, &info);
        return false;
    }
    png_init_io(png, f);
    png_set_compression_level(png, 3);
    png_set_IHDR(png, info, w, h, 8, PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT,
                 PNG_FILTER_TYPE_DEFAULT);
    png_write_info(png, info);
    for (int y = 0; y < h; y++)
        png_write_row(png, rgb + (size_t)y * w * 3);
    png_write_end(png, NULL);
    png_destroy_write_struct(&png, &info);
    return true;
}
#else
static bool write_png(FILE *f, int w, int h, const uint8_t *rgb)
{
    return false;
}
#endif

static uint8_t *to_rgb(Console *con, int w, int h)
{
    uint8_t *rgb = g_try_malloc((size_t)w * h * 3);
    pixman_image_t *img = pixman_image_create_bits(PIXMAN_x8r8g8b8, w, h, NULL, 0);

    if (rgb && img) {
        const uint8_t *data;
        int stride;

        pixman_image_composite32(PIXMAN_OP_SRC, con->surface, NULL, img, 0, 0, 0, 0, 0, 0, w, h);
        data = (const uint8_t *)pixman_image_get_data(img);
        stride = pixman_image_get_stride(img);
        for (int y = 0; y < h; y++) {
            const uint32_t *src = (const uint32_t *)(data + (size_t)y * stride);
            uint8_t *dst = rgb + (size_t)y * w * 3;

            for (int x = 0; x < w; x++, dst += 3) {
                dst[0] = src[x] >> 16;
                dst[1] = src[x] >> 8;
                dst[2] = src[x];
            }
        }
    }
    if (img)
        pixman_image_unref(img);
    return rgb;
}

bool ui_screendump(Ui *ui, Console *con, const char *path, const char *format, GError **err)
{
    g_autofree uint8_t *rgb = NULL;
    bool png, ok;
    int w, h;
    FILE *f;

    if (!con)
        con = ui_console(ui, 0);
    if (!con)
        return err_set(err, "there is no screen to save");
    if (!format)
        format = g_str_has_suffix(path, ".png") ? "png" : "ppm";
    png = strcmp(format, "png") == 0;
    if (!png && strcmp(format, "ppm") != 0)
        return err_set(err, "screendump knows the formats png and ppm, not '%s'", format);
    if (png && !HAVE_PNG)
        return err_set_code(err, ERR_UNSUPPORTED, "this quern was built without libpng; use -f ppm");
    console_refresh(con);
    w = console_width(con);
    h = console_height(con);
    rgb = to_rgb(con, w, h);
    if (!rgb)
        return err_set(err, "not enough memory for a picture of %dx%d", w, h);
    f = fopen(path, "wb");
    if (!f)
        return err_set_errno(err, errno, "writing '%s'", path);
    ok = png ? write_png(f, w, h, rgb) : write_ppm(f, w, h, rgb);
    if (fclose(f) != 0 || !ok) {
        int e = errno;

        unlink(path);
        return err_set_errno(err, e, "writing '%s'", path);
    }
    return true;
}
