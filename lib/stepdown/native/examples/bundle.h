/* Names of a bundle, whatever it is called: compile with -DSD_NETWORK=resnet8 -DSD_UPPER=RESNET8, its folder in -I. */
#ifndef STEPDOWN_EXAMPLE_BUNDLE_H
#define STEPDOWN_EXAMPLE_BUNDLE_H

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#define OF(what) JOIN(SD_UPPER, what)
#define HEADER TEXT(SD_NETWORK.h)
#define WEIGHTS TEXT(SD_NETWORK.weights.txt)

#include HEADER

#if defined(__GNUC__)
#define ALIGNED __attribute__((aligned(OF(_MEM_ALIGN))))
#else
#define ALIGNED _Alignas(OF(_MEM_ALIGN))
#endif

#endif
